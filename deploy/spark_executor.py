"""``python -m deploy.spark_executor executor``: a Spark executor on Kubernetes, as process of its pod.

Spark expects an image with a start script of its own, and appends ``executor`` to a pod's arguments. This is that script
for Baton's image; Spark's driver sets the environment that it reads.
"""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

BACKEND = "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"
OPTIONS = {
    "--driver-url": "SPARK_DRIVER_URL",
    "--executor-id": "SPARK_EXECUTOR_ID",
    "--cores": "SPARK_EXECUTOR_CORES",
    "--app-id": "SPARK_APPLICATION_ID",
    "--hostname": "SPARK_EXECUTOR_POD_IP",
    "--resourceProfileId": "SPARK_RESOURCE_PROFILE_ID",
    "--podName": "SPARK_EXECUTOR_POD_NAME",
}
JAVA_OPTION = re.compile(r"SPARK_JAVA_OPT_(\d+)")


def command(environment: Mapping[str, str], jars: Path) -> list[str]:
    """The command line of an executor.

    Args:
        environment: that of the pod, which Spark's driver made.
        jars: directory of Spark's jars.

    Raises:
        ValueError: the environment is none of an executor.
    """
    needed = ["JAVA_HOME", "SPARK_EXECUTOR_MEMORY", *OPTIONS.values()]
    if missing := [name for name in needed if not environment.get(name)]:
        raise ValueError(f"{', '.join(missing)} not set. Remedy: let Spark's driver start this pod")
    numbered = [(int(m.group(1)), value) for name, value in environment.items() if (m := JAVA_OPTION.fullmatch(name))]
    memory = environment["SPARK_EXECUTOR_MEMORY"]
    places = [environment.get("SPARK_CONF_DIR"), environment.get("SPARK_CLASSPATH"), f"{jars}/*"]
    return [
        f"{environment['JAVA_HOME']}/bin/java",
        *(value for _, value in sorted(numbered)),
        *(f"-Xms{memory}", f"-Xmx{memory}"),
        *("-cp", ":".join(place for place in places if place)),
        BACKEND,
        *(word for option, name in OPTIONS.items() for word in (option, environment[name])),
    ]


def main(arguments: list[str]) -> None:
    if arguments != ["executor"]:
        raise ValueError(f"arguments {arguments}. Remedy: `executor` alone, as Spark appends it")
    import pyspark

    argv = command(os.environ, Path(pyspark.__path__[0]) / "jars")
    os.execv(argv[0], argv)


if __name__ == "__main__":
    main(sys.argv[1:])
