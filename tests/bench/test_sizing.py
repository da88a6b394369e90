"""The sizing table of docs/clusters.md is the one that the script computes."""

from pathlib import Path

import pytest

from bench.sizing import SIZES, Size, amount, table

PAGE = Path(__file__).parents[2] / "docs" / "clusters.md"


def test_the_page_has_the_table_that_the_script_prints() -> None:
    assert table() in PAGE.read_text(), "Remedy: put what `make bench-sizing` prints into docs/clusters.md"


@pytest.mark.parametrize(
    ("count", "text"), [(999, "999 B"), (1000, "1.0 kB"), (22_350, "22 kB"), (33e6, "33 MB"), (2e15, "2000 TB")]
)
def test_amounts(count: float, text: str) -> None:
    assert amount(count) == text


def test_the_driver_grows_with_the_square_of_the_partitions() -> None:
    beside = [Size("", raw, 1).driver_bytes - Size("", 0, 1).driver_bytes for raw in (1e12, 2e12)]
    assert beside[1] == pytest.approx(4 * beside[0], rel=1e-3)
    assert beside[0] == pytest.approx(111e6, rel=0.01)
    assert [size.partitions for size in SIZES] == [299, 29_803, 447_035]
