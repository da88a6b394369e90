"""A Spark session for a benchmark, with the settings of the corpus stage."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from etl.java import find_java_home
from etl.spark_conf import SQL_CONF, jit, shuffle_partitions

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def start(out: Path, cores: int, heap: str, docs: str) -> "SparkSession":
    """A session on this machine.

    Args:
        out: directory for what it spills.
        cores: how many it uses.
        heap: of its JVM, such as ``2g``.
        docs: directory of the documents; their size sets the number of shuffle partitions.
    """
    from pyspark.sql import SparkSession

    os.environ["JAVA_HOME"] = find_java_home(out.parent)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master(f"local[{cores}]").config("spark.driver.memory", heap)
    size = sum(f.stat().st_size for f in Path(docs).glob("*.jsonl"))
    own = {"spark.ui.enabled": "false", "spark.local.dir": f"{out}/spark", "spark.driver.extraJavaOptions": jit(size)}
    for key, value in {**SQL_CONF, **own}.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.conf.set("spark.sql.shuffle.partitions", shuffle_partitions(cores, size))
    return spark
