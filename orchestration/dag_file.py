"""DAG files, read as Airflow's DAG processor reads them, and what can be said of a line of one."""

import ast
import importlib.util
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
AT_PARSE = "parses-without-work"  # the rule that the source and the watch are both asked about
PARSE_LIMIT_SECONDS = 30  # Airflow's own default, [core] dagbag_import_timeout


@dataclass(frozen=True, order=True)
class Finding:
    """What is wrong with a line of a DAG file.

    Attributes:
        file: as messages call it.
        line: counted from 1.
        rule: name of the rule that was broken.
        message: what is wrong.
        remedy: what to do about it.
    """

    file: str
    line: int
    rule: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.message}. Remedy: {self.remedy}"


class Unreadable(Exception):
    """A DAG file that Airflow could not read either.

    Attributes:
        finding: where and why.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


@dataclass(frozen=True)
class DagFile:
    """A file and the DAGs in it.

    Attributes:
        name: as messages call it.
        path: where it is.
        tree: its syntax tree.
        dags: what Airflow makes of it.
    """

    name: str
    path: Path
    tree: ast.Module
    dags: tuple[Any, ...] = ()

    def line_of_dag(self, dag: Any) -> int:
        """Line of the ``DAG(…)`` call or the ``@dag`` function of a DAG; 1 where another file holds it."""
        return self._line(dag.dag_id, ("DAG", "dag"), "dag_id")

    def line_of_task(self, task: Any) -> int:
        """Line of the operator or of the ``@task`` function; that of the DAG where a loop or a function made it."""
        task_id = task.task_id.rsplit(".", 1)[-1]  # without the groups that it is in
        return self._line(task_id, None, "task_id") or self.line_of_dag(task.dag)

    def keyword(self, dag: Any, name: str) -> ast.expr | None:
        """What the file itself gives to the DAG for an argument; None where it says nothing."""
        calls = [node for node in ast.walk(self.tree) if isinstance(node, ast.Call) and _called(node) in ("DAG", "dag")]
        own = [call for call in calls if call.lineno == self.line_of_dag(dag)] or calls
        return next((k.value for call in own for k in call.keywords if k.arg == name), None)

    def _line(self, value: str, names: tuple[str, ...] | None, keyword: str) -> int:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and (names is None or _called(node) in names):
                given = [k.value for k in node.keywords if k.arg == keyword] or (node.args[:1] if names else [])
                if any(isinstance(text, ast.Constant) and text.value == value for text in given):
                    return node.lineno
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == value and node.decorator_list:
                return node.decorator_list[0].lineno
        return 1 if names else 0


def parse(path: Path, name: str | None = None) -> DagFile:
    """The file as a syntax tree; none of it is run.

    Raises:
        Unreadable: a syntax error.
    """
    name = name or shown(path)
    try:
        return DagFile(name, path, ast.parse(path.read_bytes()))
    except SyntaxError as error:
        raise Unreadable(Finding(name, error.lineno or 1, "syntax", str(error.msg), "correct the line")) from None


def load(path: Path, name: str | None = None) -> DagFile:
    """Execute a DAG file, as Airflow's DAG processor does.

    Raises:
        Unreadable: naming the line of the file at which it failed.
    """
    from airflow.sdk.definitions._internal.contextmanager import DagContext

    file = parse(path, name)
    spec = importlib.util.spec_from_file_location(f"loaded_{path.stem}", path)
    assert spec and spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    DagContext.current_autoregister_module_name = spec.name
    try:
        with _limited():
            spec.loader.exec_module(module)
        dags = tuple(dag for dag, owner in DagContext.autoregistered_dags if owner is module)
    except (Exception, SystemExit) as error:
        raise Unreadable(_finding(file, error)) from error
    finally:
        DagContext.current_autoregister_module_name = None
        DagContext.autoregistered_dags.clear()
        while DagContext.get_current() is not None:  # of a file that failed within ``with DAG(…)``
            DagContext.pop()
        del sys.modules[spec.name]
    return DagFile(file.name, path, file.tree, tuple(sorted(dags, key=lambda dag: str(dag.dag_id))))


def shown(path: Path) -> str:
    """A path as messages call it: below the working directory or the project, where it is there."""
    whole = path.resolve()
    for root in (Path.cwd(), PROJECT):
        if whole.is_relative_to(root):
            return str(whole.relative_to(root))
    return str(path)


def _finding(file: DagFile, error: BaseException) -> Finding:
    frames = traceback.extract_tb(error.__traceback__)
    line = next((frame.lineno for frame in reversed(frames) if Path(frame.filename) == file.path), None) or 1
    message, _, remedy = " ".join(str(error).split()).partition(" Remedy: ")
    kind = "" if remedy else f"{type(error).__name__}: "
    return Finding(
        file.name,
        line,
        "parses",
        f"{kind}{message[:400]}".rstrip(".: "),
        remedy or "correct it; Airflow stops here too",
    )


@contextmanager
def _limited() -> Iterator[None]:
    """End a file that does not end by itself, where signals can be had: in the main thread."""

    def end(*_: object) -> None:
        raise TimeoutError(
            f"not parsed within {PARSE_LIMIT_SECONDS} s, at which Airflow gives up. Remedy: move what takes long into a task"
        )

    try:
        before = signal.signal(signal.SIGALRM, end)
    except ValueError:
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, PARSE_LIMIT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func).rsplit(".", 1)[-1]
