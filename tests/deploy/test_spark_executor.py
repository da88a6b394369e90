"""The process of an executor's pod: Spark's driver must know it for what it is, and give it work."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deploy.spark_executor import BACKEND, command, main
from etl.java import find_java_home
from handoff.packages import cache_dir
from orchestration.ports import any_free_port
from orchestration.services import PROJECT

# What Spark's driver sets in an executor's pod.
POD = {
    "SPARK_DRIVER_URL": "spark://CoarseGrainedScheduler@airflow-scheduler:7078",
    "SPARK_EXECUTOR_ID": "3",
    "SPARK_EXECUTOR_CORES": "1",
    "SPARK_EXECUTOR_MEMORY": "512m",
    "SPARK_APPLICATION_ID": "spark-1",
    "SPARK_EXECUTOR_POD_IP": "127.0.0.1",
    "SPARK_EXECUTOR_POD_NAME": "baton-exec-3",
    "SPARK_RESOURCE_PROFILE_ID": "0",
    "SPARK_CONF_DIR": "/opt/spark/conf",
    "JAVA_HOME": "/opt/java",
}


def test_the_command_is_that_of_sparks_own_image() -> None:
    options = {f"SPARK_JAVA_OPT_{number}": f"-Dn={number}" for number in (10, 9)}
    argv = command({**POD, **options}, Path("/jars"))
    assert argv[:5] == ["/opt/java/bin/java", "-Dn=9", "-Dn=10", "-Xms512m", "-Xmx512m"]
    assert argv[5:8] == ["-cp", "/opt/spark/conf:/jars/*", BACKEND]
    assert dict(zip(argv[8::2], argv[9::2], strict=True))["--driver-url"] == POD["SPARK_DRIVER_URL"]


def test_a_pod_that_nobody_started_says_so() -> None:
    with pytest.raises(ValueError, match="SPARK_DRIVER_URL, SPARK_APPLICATION_ID not set"):
        command({k: v for k, v in POD.items() if k not in ("SPARK_DRIVER_URL", "SPARK_APPLICATION_ID")}, Path("/jars"))
    with pytest.raises(ValueError, match="executor"):
        main([])


DRIVER = """
import sys
from pyspark.sql import SparkSession
master, port = sys.argv[1:]
builder = SparkSession.builder.master(master).config("spark.driver.port", port).config("spark.driver.host", "127.0.0.1")
spark = builder.config("spark.ui.enabled", "false").config("spark.driver.memory", "512m").getOrCreate()
print(spark.sparkContext.applicationId, flush=True)
print(spark.sparkContext.parallelize(range(100), 4).map(lambda n: n * 2).sum(), flush=True)
"""


@pytest.mark.faults
def test_a_driver_gives_it_work(tmp_path: Path) -> None:
    """A standalone master without a worker: the one executor is the process of the pod."""
    port, driver_port = any_free_port(""), any_free_port("")
    environment = {
        **os.environ, "JAVA_HOME": find_java_home(cache_dir()), "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(PROJECT),
    }  # fmt: skip
    master = ["org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0"]
    spark_class = str(Path(sys.executable).with_name("spark-class"))
    started = [subprocess.Popen([spark_class, *master], env=environment, stderr=(tmp_path / "master").open("w"))]
    try:
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, f"spark://127.0.0.1:{port}", str(driver_port)],
            env=environment, stdout=subprocess.PIPE, stderr=(tmp_path / "driver").open("w"), text=True,
        )  # fmt: skip
        started.append(driver)
        assert driver.stdout
        application = driver.stdout.readline().strip()
        assert application, (tmp_path / "driver").read_text()
        pod = {
            **environment, **POD, "JAVA_HOME": environment["JAVA_HOME"], "SPARK_CONF_DIR": str(tmp_path),
            "SPARK_DRIVER_URL": f"spark://CoarseGrainedScheduler@127.0.0.1:{driver_port}",
            "SPARK_APPLICATION_ID": application,
        }  # fmt: skip
        executor = subprocess.Popen(
            [sys.executable, "-m", "deploy.spark_executor", "executor"],
            env=pod,
            stderr=(tmp_path / "executor").open("w"),
        )
        started.append(executor)
        assert driver.communicate(timeout=240)[0].strip() == "9900", (tmp_path / "executor").read_text()
        executor.wait(timeout=30)  # it ends with its driver
    finally:
        for process in started:
            if process.poll() is None:
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
                process.kill()
                process.wait()


SETTINGS = """
import sys
from pyspark import SparkConf
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
jvm = spark._jvm
conf = jvm.org.apache.spark.SparkConf(False).set("spark.kubernetes.driver.pod.name", sys.argv[1])
entry = getattr(getattr(jvm.org.apache.spark.deploy.k8s, "Config$"), "MODULE$").KUBERNETES_DRIVER_POD_NAME()
print(conf.get(entry).get())
hadoop = jvm.org.apache.hadoop.conf.Configuration(False)
hadoop.set("fs.s3a.endpoint", sys.argv[2])
print(hadoop.get("fs.s3a.endpoint"))
"""


@pytest.mark.faults
def test_spark_takes_names_from_the_environment() -> None:
    """The name of the driver's pod and the store's address stand in the environment alone."""
    text = (PROJECT / "deploy" / "kubernetes" / "spark" / "spark-defaults.conf").read_text()
    settings = dict(line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#"))
    names = [settings["spark.kubernetes.driver.pod.name"], settings["spark.hadoop.fs.s3a.endpoint"]]
    environment = {
        **os.environ, "JAVA_HOME": find_java_home(cache_dir()), "SPARK_LOCAL_IP": "127.0.0.1",
        "HOSTNAME": "airflow-scheduler-0", "AWS_ENDPOINT_URL": "https://s3.example",
    }  # fmt: skip
    found = subprocess.run(
        [sys.executable, "-c", SETTINGS, *names], env=environment, capture_output=True, text=True, timeout=240
    )
    assert found.stdout.split() == ["airflow-scheduler-0", "https://s3.example"], found.stderr[-2000:]
