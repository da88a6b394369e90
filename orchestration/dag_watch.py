"""What executing a DAG file touches: engines that it loads, clock, network, other programs, connections, variables."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from orchestration.dag_file import AT_PARSE, PROJECT, DagFile, Finding, Unreadable, load, shown

OURS = (
    "orchestration",
    "airflow_ray",
    "handoff",
    "engines",
    "etl",
    "training",
    "evaluation",
    "inference",
    "comparison",
)
HEAVY = (
    "ray", "pyspark", "torch", "transformers", "deepspeed", "peft", "mlflow", "matplotlib", "pandas", "numpy", "pyarrow",
)  # fmt: skip
CLOCK = {"time", "time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "localtime", "gmtime"}
OUTSIDE = {"socket.connect", "socket.connect_ex", "getaddrinfo", "fork_exec", "posix_spawn", "system"}


class Watch:
    """Notes calls of the clock from lines of this project, and of the network or other programs from any line.

    Args:
        file: the DAG file. A call counts for the line of it that led there.
    """

    def __init__(self, file: Path) -> None:
        self._file = str(file)
        self._ours = (str(PROJECT), str(file.parent))
        self.seen: list[tuple[int, str]] = []

    def __call__(self, frame: FrameType, event: str, function: Any) -> None:
        if event != "c_call":
            return
        name = getattr(function, "__qualname__", "")
        caller = frame.f_code.co_filename
        own = caller.startswith(self._ours) and "site-packages" not in caller and caller != __file__
        if name in OUTSIDE or (name in CLOCK and own):
            self.note(frame, f"calls {name}")

    def note(self, frame: FrameType | None, what: str) -> None:
        """Remember what happened, at the line of the DAG file that led to it."""
        line = 1
        while frame is not None:
            if frame.f_code.co_filename == self._file:
                line = frame.f_lineno
                break
            frame = frame.f_back
        self.seen.append((line, what))


def load_watched(path: Path, name: str | None = None) -> tuple[DagFile, list[Finding]]:
    """Load a DAG file twice: once for what it loads, and once more, all of it there, for what it touches.

    To be called in a process that runs no other work: modules of this project are loaded anew.

    Returns:
        The file, and a finding for each thing that parsing should leave alone.

    Raises:
        Unreadable: as :func:`orchestration.dag_file.load`.
    """
    import airflow.sdk

    airflow.sdk.Param(None)  # loads what it loads late
    before = {module for module in HEAVY if module in sys.modules}
    watch = Watch(path)

    def told(*found: tuple[int, str]) -> list[Finding]:
        name_of_file = name or shown(path)
        return [
            Finding(name_of_file, line, AT_PARSE, f"parsing it {what}", "do it inside a task")
            for line, what in dict.fromkeys([*found, *watch.seen])
        ]

    try:
        with _asked(watch):
            _forget(path)
            file = load(path, name)
            heavy = sorted({module for module in HEAVY if module in sys.modules} - before)
            _forget(path)
            sys.setprofile(watch)
            try:
                file = load(path, name)
            finally:
                sys.setprofile(None)
    except Unreadable:
        if watch.seen:  # the file goes on with a variable that it did not get, and fails
            raise Unreadable(told()[0]) from None
        raise
    return file, told((_line_of_import(file, heavy), f"loads {', '.join(heavy)}")) if heavy else told()


@contextmanager
def _asked(watch: Watch) -> Iterator[None]:
    """Connections and variables are noted and not looked up."""
    from airflow.sdk import BaseHook, Variable

    kept = BaseHook.get_connection, Variable.get
    note = watch.note
    BaseHook.get_connection = lambda *a, **k: note(sys._getframe(1), f"asks for the connection {a}")  # type: ignore[method-assign, assignment, return-value]
    Variable.get = lambda *a, **k: note(sys._getframe(1), f"asks for the variable {a}")  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        BaseHook.get_connection, Variable.get = kept  # type: ignore[method-assign]


def _forget(path: Path) -> None:
    """Modules of this project and those beside the DAG file, less the ones at work here."""
    for name, module in list(sys.modules.items()):
        where = getattr(module, "__file__", None) or ""
        beside = Path(where).parent == path.parent
        if (name.split(".")[0] in OURS and not name.startswith("orchestration.dag_")) or (
            beside and name != "__main__"
        ):
            del sys.modules[name]


def _line_of_import(file: DagFile, modules: list[str]) -> int:
    """Line at which the file imports one of the modules itself; 1 where it is another module that does."""
    from orchestration.dag_rules import imports

    return next((line for name, line in imports(file.tree) if name.split(".")[0] in modules), 1)
