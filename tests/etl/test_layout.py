"""Files and row groups of the configured size, the same rows in the same places whatever the cluster looks like."""

from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from etl.config import LayoutConfig
from etl.layout import SAMPLE_ROWS, RowBytes, SplitLayout, compression_ratio, plan_split, sample, write_split
from handoff.budget import MIB
from handoff.errors import ConfigError
from handoff.schema import CORPUS


def test_number_of_files_follows_the_compressed_bytes() -> None:
    measured = RowBytes(rows=1000, total=100 * MIB, deviation=0.0, largest=MIB // 10 + 1)
    assert plan_split(measured, 0.5, LayoutConfig(target_file_mib=10)).files == 5
    assert plan_split(measured, 0.5, LayoutConfig(target_file_mib=9.9)).files == 6
    assert plan_split(measured, 0.5, LayoutConfig(target_file_mib=1000)).files == 1


def test_equal_rows_fill_a_row_group_and_varied_ones_leave_room() -> None:
    config = LayoutConfig(row_group_mib=1)
    equal = plan_split(RowBytes(1000, 1024 * 1000, 0.0, 1024), 1, config).rows_per_group
    varied = plan_split(RowBytes(1000, 1024 * 1000, 512.0, 8192), 1, config).rows_per_group
    assert equal == 1024
    assert varied + 6 * 0.5 * varied**0.5 <= 1024 < (varied + 1) + 6 * 0.5 * (varied + 1) ** 0.5


def test_a_row_larger_than_a_row_group_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"raise corpus\.layout\.row_group_mib"):
        plan_split(RowBytes(1, 2 * MIB, 0.0, 2 * MIB), 1, LayoutConfig(row_group_mib=1))


def test_rows_lie_in_the_same_files_and_order_whatever_the_partitions(spark: Any, tmp_path: Path) -> None:
    config = LayoutConfig(row_group_mib=0.0625)
    rows = spark.range(2000).selectExpr(
        "sha2(string(id), 256) row_id",
        "concat('doc', id % 7) doc_id",
        "int(id) position",
        "repeat(string(id), 50) text",
    )

    def written(partitions: int, seed: int) -> list[list[str]]:
        directory = tmp_path / f"{partitions}-{seed}"
        layout = SplitLayout(files=3, rows_per_group=100)
        write_split(rows.repartition(partitions), str(directory), layout, config, seed)
        files = sorted(directory.glob("*.parquet"))
        assert all(pq.ParquetFile(f).metadata.row_group(0).num_rows <= 100 for f in files)
        columns = pq.ParquetFile(files[0]).metadata.row_group(0)
        assert columns.column(0).statistics.has_min_max and columns.column(3).statistics is None
        return [pq.read_table(f)["row_id"].to_pylist() for f in files]

    one, other, reseeded = written(1, 0), written(7, 0), written(1, 1)
    assert one == other
    assert [len(f) for f in one] == pytest.approx([667] * 3, rel=0.15)
    in_order, in_other_order = list(chain(*one)), list(chain(*reseeded))
    assert in_order != in_other_order and sorted(in_order) == sorted(in_other_order)
    files = sorted((tmp_path / "1-0").glob("*.parquet"))
    positions = [p for f in files for p in pq.read_table(f)["position"].to_pylist()]
    neighbours = sum(abs(a - b) == 1 for a, b in pairwise(positions))
    assert neighbours < 20  # shuffled: of 2000 rows, about two stand beside the one they came with


def test_a_sample_costs_the_driver_the_same_whatever_the_partitions(spark: Any) -> None:
    """Spark counts what tasks send to its driver, and refuses more than ``spark.driver.maxResultSize``."""
    rows = spark.range(0, 40 * SAMPLE_ROWS, 1, 40).selectExpr(
        "sha2(string(id), 256) row_id", "concat('doc', id) doc_id", "int(id) position", "repeat(string(id), 200) text"
    )
    conf, name = spark._jsc.sc().conf(), "spark.driver.maxResultSize"
    conf.set(name, "4m")
    try:
        with pytest.raises(Exception, match="maxResultSize"):
            rows.orderBy("row_id").limit(SAMPLE_ROWS).collect()  # what sends the first rows of every partition
        drawn = sample(rows, seed=1)
    finally:
        conf.remove(name)
    assert drawn.num_rows == SAMPLE_ROWS and drawn.schema == CORPUS
    assert 0 < compression_ratio(drawn) < 0.5
