"""``python -m tests.dags.parse_probe``: what parsing each DAG file costs and touches, in a fresh process; prints JSON.

The process has Airflow and its providers loaded, as the DAG processor does, and nothing of this project.
"""

import json
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
OURS = (
    "dags",
    "orchestration",
    "airflow_ray",
    "handoff",
    "etl",
    "training",
    "evaluation",
    "registry",
    "inference",
    "reporting",
)
HEAVY = (
    "ray",
    "pyspark",
    "torch",
    "transformers",
    "deepspeed",
    "peft",
    "mlflow",
    "matplotlib",
    "pandas",
    "numpy",
    "pyarrow",
)
CLOCK = {"time", "time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "localtime", "gmtime"}
OUTSIDE = {"socket.connect", "socket.connect_ex", "getaddrinfo", "fork_exec", "posix_spawn", "system"}


class Watch:
    """Notes calls of the clock from lines of this project, and of the network or other programs from any line.

    Args:
        ours: directories of the project's lines.
    """

    def __init__(self, *ours: Path) -> None:
        self._ours = tuple(map(str, ours))
        self.seen: list[str] = []

    def __call__(self, frame: FrameType, event: str, function: Any) -> None:
        if event != "c_call":
            return
        name = getattr(function, "__qualname__", "")
        line = frame.f_code.co_filename
        own = line.startswith(self._ours) and "site-packages" not in line
        if name in OUTSIDE or (name in CLOCK and own):
            self.seen.append(f"{line}:{frame.f_lineno} calls {name}")


def forget_ours() -> None:
    for name in [m for m in sys.modules if m.split(".")[0] in OURS]:
        del sys.modules[name]


def main(files: list[str]) -> None:
    import airflow.providers.apache.spark.operators.spark_submit
    import airflow.providers.standard.hooks.subprocess
    import airflow.providers.standard.operators.hitl
    import airflow.sdk
    import airflow.sdk.bases.xcom
    from airflow.sdk import BaseHook, Variable

    from tests.dags.dag_file import load

    airflow.sdk.Param(None)  # loads what it lazily imports
    before = {name for name in HEAVY if name in sys.modules}
    asked: list[str] = []
    BaseHook.get_connection = lambda *a: asked.append(f"the connection {a}")  # type: ignore[method-assign, assignment, return-value]
    Variable.get = lambda *a, **k: asked.append(f"the variable {a}")  # type: ignore[method-assign, assignment]
    report = {}
    for file in files:
        forget_ours()
        start = time.perf_counter()
        load(Path(file))
        seconds = time.perf_counter() - start
        loaded = sorted({name for name in HEAVY if name in sys.modules} - before)
        forget_ours()
        watch = Watch(ROOT, Path(file).parent)
        sys.setprofile(watch)
        try:
            load(Path(file))
        finally:
            sys.setprofile(None)
        report[Path(file).name] = {"seconds": seconds, "loaded": loaded, "touched": watch.seen, "asked": list(asked)}
        asked.clear()
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
