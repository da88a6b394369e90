"""An engine's session for one process of the comparison: the same cores and memory for each, defaults or tuned."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparison.config import RAY_STORE
from comparison.form import Engine

MIB = 1 << 20


@dataclass(frozen=True)
class Setting:
    """One switch of a tuned engine. ``make compare-tune`` tries its other values.

    Attributes:
        name: the engine's own name: a Spark property, an environment variable of Ray.
        value: that the comparison sets; None: the engine's default.
        others: worth trying where somebody doubts the value.
        why: the reason, with the measurement behind it where there is one.
    """

    name: str
    value: str | None
    others: tuple[str, ...]
    why: str


# Made to be challenged: an expert of either engine who misses a line here should add it, and run `make compare-tune`.
TUNED: dict[Engine, tuple[Setting, ...]] = {
    "spark": (
        Setting(
            "spark.sql.files.maxPartitionBytes", str(32 * MIB), (str(8 * MIB), str(128 * MIB)),
            "a task reads as much text as a block of Ray's forms has; the default of 128 MiB leaves cores idle up to 256 MB",
        ),
        Setting(
            "spark.sql.execution.arrow.maxRecordsPerBatch", "10000", ("2000", "50000"),
            "the default, stated: batches of Python stages; not measured",
        ),
        Setting(
            "spark.sql.shuffle.partitions", "{cores * 4}", ("{cores}", "{cores * 8}", "200"),
            "the default of 200 took 18 s where a few take 8 s (the corpus stage of 9.5 MB on two cores)",
        ),
        Setting(
            "spark.driver.extraJavaOptions", "{jit}", ("-XX:+UseParallelGC", "-XX:+UseG1GC", "-XX:+UseZGC"),
            "the product's own choice by the size of the text: no C2 up to 128 MiB, C2 that compiles later beyond",
        ),
        Setting(
            "spark.sql.adaptive.coalescePartitions.minPartitionSize", None, (str(8 * MIB),),
            "the default (1 MB) was not beaten by anything tried",
        ),
        Setting("spark.memory.fraction", None, ("0.8",), "the default (0.6); not measured"),
        Setting("spark.sql.parquet.compression.codec", None, ("snappy", "lz4"), "every form writes zstd, as Ray's do"),
    ),
    "ray": (
        Setting(
            "RAY_num_workers_soft_limit", "8", ("2", "4", "16"),
            "a shuffle's map and reduce tasks run in worker pools of their own, and a raylet ends idle workers beyond its "
            "number of CPUs: a warm sort took 13 to 29 s on two CPUs, and 0.2 s once they stay. PySpark's stay for a minute",
        ),
        Setting(
            "RAY_DATA_SHUFFLE_INPUT_BATCH_BYTES", str(32 * MIB), (str(8 * MIB), str(128 * MIB)),
            "the default of 1 GiB makes one map task of 100 MB",
        ),
        Setting(
            "RAY_DATA_USE_DATASOURCE_V2", "0", ("1",),
            "version 2 packs eight files into a task and ignores override_num_blocks: two trainers got 6,038 and 0 rows",
        ),
        Setting("RAY_DATA_SHUFFLE_COMPRESSION", None, ("none", "lz4"), "the default (zstd); not measured"),
        Setting(
            "RAY_DATA_HASH_SHUFFLE_REDUCE_BATCH_SIZE", None, ("4", "64"), "the default (16); not measured"
        ),
        Setting(
            "RAY_DATA_ENABLE_DISK_SHUFFLE", None, ("1",), "the default (off), for shuffles larger than the object store"
        ),
    ),
}  # fmt: skip
SPARK_HEAP = 0.6  # of the memory; the rest is the JVM's own, its buffers and the Python workers
SETTINGS = {engine: {s.name: s.value for s in some if s.value is not None} for engine, some in TUNED.items()}


@contextlib.contextmanager
def session(
    engine: Engine,
    cores: int,
    memory_bytes: int,
    tuned: bool,
    scratch: Path,
    *,
    megabytes: float,
    master: str | None = None,
    changed: Mapping[str, str] | None = None,
) -> Iterator[Any]:
    """Start an engine; yields the Spark session, or None for others. Ray is reached through its module.

    For ``relay`` nothing is started: its form starts one engine after the other.

    Args:
        memory_bytes: that all processes of the engine may hold together.
        megabytes: of text that it will work on; a tuned Spark chooses its compiler by it, as the product does.
        master: Spark's, where it is not this process: executors of their own, which can die.
        changed: settings of a tuned engine in place of its own ones, by name.
    """
    settings = SETTINGS.get(engine, {}) | dict(changed or {}) if tuned else {}
    if engine == "spark":
        yield from _spark(cores, memory_bytes, settings, scratch, master or f"local[{cores}]", megabytes)
    elif engine == "ray":
        yield from _ray(cores, memory_bytes, settings)
    else:
        yield None


def _spark(
    cores: int, memory_bytes: int, settings: Mapping[str, str], scratch: Path, master: str, megabytes: float
) -> Iterator[Any]:
    from pyspark.sql import SparkSession

    from etl.java import find_java_home
    from etl.spark_conf import jit

    os.environ["JAVA_HOME"] = find_java_home(scratch)
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = (
        SparkSession.builder.master(master)
        .config("spark.driver.memory", f"{int(memory_bytes * SPARK_HEAP) >> 20}m")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.local.dir", str(scratch / "spark"))
        .config("spark.sql.warehouse.dir", str(scratch / "warehouse"))
    )
    known = {"{cores}": str(cores), "{jit}": jit(int(megabytes * 1e6))}
    known |= {f"{{cores * {n}}}": str(cores * n) for n in (4, 8)}
    for key, value in settings.items():
        builder = builder.config(key, known.get(value, value))
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    try:
        yield spark
    finally:
        spark.stop()


def _ray(cores: int, memory_bytes: int, settings: Mapping[str, str]) -> Iterator[Any]:
    os.environ["RAY_DATA_DISABLE_PROGRESS_BARS"] = "1"
    os.environ.update(settings)  # before Ray is imported: it reads them then
    import ray

    ray.init(
        address="local",
        num_cpus=cores,
        include_dashboard=False,
        object_store_memory=int(memory_bytes * RAY_STORE),
        _memory=int(memory_bytes * (1 - RAY_STORE)),
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        yield None
    finally:
        ray.shutdown()


def spilled_bytes(engine: Engine, spark: Any) -> int | None:
    """What a running engine has written to disk so far for lack of memory; None where it does not say."""
    if engine == "spark":
        gateway = spark.sparkContext._gateway
        quantiles = gateway.new_array(gateway.jvm.double, 0)
        stages = spark.sparkContext._jsc.sc().statusStore().stageList(None, False, False, quantiles, None)
        return sum(stages.apply(n).diskBytesSpilled() for n in range(stages.size()))
    if engine == "ray":
        import ray
        from ray._private.internal_api import get_memory_info_reply, get_state_from_address

        state = get_state_from_address(ray.get_runtime_context().gcs_address)
        return get_memory_info_reply(state).store_stats.spilled_bytes_total
    return None
