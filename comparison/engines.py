"""An engine's session for one process of the comparison: the same cores and memory for each, defaults or tuned."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comparison.config import RAY_STORE
from comparison.form import Engine

TUNED_SPARK = {
    "spark.sql.execution.arrow.maxRecordsPerBatch": "10000",
    "spark.sql.files.maxPartitionBytes": str(32 << 20),
}
TUNED_RAY = {
    # Datasource V2 packs eight files into a task and ignores override_num_blocks: two trainers get 6,038 and 0 rows.
    "RAY_DATA_USE_DATASOURCE_V2": "0",
    # A shuffle's map and reduce tasks run in worker pools of their own, and a raylet ends idle workers beyond its number of
    # CPUs: a warm sort of 10 MB took 13 to 29 s on two CPUs, and 0.2 to 0.4 s once they stay. PySpark's stay for a minute.
    "RAY_num_workers_soft_limit": "8",
    # Its default of 1 GiB makes one map task of 100 MB.
    "RAY_DATA_SHUFFLE_INPUT_BATCH_BYTES": str(32 << 20),
}
SPARK_HEAP = 0.6  # of the memory; the rest is the JVM's own, its buffers and the Python workers
SETTINGS = {"spark": TUNED_SPARK, "ray": TUNED_RAY}


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
) -> Iterator[Any]:
    """Start an engine; yields the Spark session, or None for others. Ray is reached through its module.

    For ``relay`` nothing is started: its form starts one engine after the other.

    Args:
        memory_bytes: that all processes of the engine may hold together.
        megabytes: of text that it will work on; a tuned Spark chooses its compiler by it, as the product does.
        master: Spark's, where it is not this process: executors of their own, which can die.
    """
    if engine == "spark":
        yield from _spark(cores, memory_bytes, tuned, scratch, master or f"local[{cores}]", megabytes)
    elif engine == "ray":
        yield from _ray(cores, memory_bytes, tuned, scratch)
    else:
        yield None


def _spark(cores: int, memory_bytes: int, tuned: bool, scratch: Path, master: str, megabytes: float) -> Iterator[Any]:
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
    if tuned:
        builder = builder.config("spark.driver.extraJavaOptions", jit(int(megabytes * 1e6)))
        builder = builder.config("spark.sql.shuffle.partitions", str(cores * 4))
        for key, value in TUNED_SPARK.items():
            builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    try:
        yield spark
    finally:
        spark.stop()


def _ray(cores: int, memory_bytes: int, tuned: bool, scratch: Path) -> Iterator[Any]:
    os.environ["RAY_DATA_DISABLE_PROGRESS_BARS"] = "1"
    if tuned:
        os.environ.update(TUNED_RAY)
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
