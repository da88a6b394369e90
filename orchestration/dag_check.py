"""``python -m orchestration.dag_check [DIR or FILE …]``: what is wrong with DAG files, a line each, in seconds.

Every DAG is held to the rules of ``dag_rules.py``, the ones that the project ships also to those of
``product_rules.py``. A graph that changed is shown as a diff, which is no fault; ``--accept`` keeps the new one.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.dag_file import AT_PARSE, PROJECT, DagFile, Finding, Unreadable, load, parse, shown

Load = Callable[[Path], tuple[DagFile, list[Finding]]]


@dataclass(frozen=True)
class Checked:
    """What is known of some DAG files after a check.

    Attributes:
        files: those that could be read.
        findings: in the order of files and lines.
    """

    files: list[DagFile]
    findings: list[Finding]


def plainly(path: Path) -> tuple[DagFile, list[Finding]]:
    """Load a file and watch nothing."""
    return load(path), []


def check(paths: Iterable[Path], load_one: Load = plainly) -> Checked:
    """Read every DAG file at ``paths`` (files, or folders with all below them), and apply the rules.

    Args:
        paths: where to look.
        load_one: reads one file, with findings about the reading.
    """
    files: list[DagFile] = []
    findings: list[Finding] = []
    for path in dag_files(paths):
        try:
            file, found = load_one(path)
        except Unreadable as error:
            # What it does at parse may be the cause: better advice than the error that came of it.
            found = _at_parse(path)
            findings += found
            findings += [error.finding] if error.finding.line not in {cause.line for cause in found} else []
            continue
        files.append(file)
        findings += found
        findings += findings_of(file)
    findings += _doubles(files)
    # The watch and the rule that reads the source may both have seen what a line does: once is enough.
    once = {(f.file, f.line, f.rule, "" if f.rule == AT_PARSE else f.message): f for f in sorted(findings)}
    return Checked(files, list(once.values()))


def dag_files(paths: Iterable[Path]) -> list[Path]:
    """Files that Airflow's DAG processor would read: ``.airflowignore`` holds, as does its look for the words.

    Raises:
        FileNotFoundError: there is nothing at a path.
    """
    from airflow.utils.file import list_py_file_paths

    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist. Remedy: give a DAG file, or a folder with some")
        found += [path] if path.is_file() else sorted(Path(name) for name in list_py_file_paths(path, safe_mode=True))
    return [path.resolve() for path in found if path.suffix == ".py"]


def findings_of(file: DagFile) -> Iterator[Finding]:
    """What is wrong with a file that could be read, by Airflow's own checks and by the rules."""
    from orchestration.dag_rules import SAFETY_RULES
    from orchestration.product_rules import PRODUCT_RULES, is_shipped

    if not file.dags:
        yield Finding(
            file.name,
            1,
            "holds-a-dag",
            "there is no DAG in it",
            "call the function under @dag, or list the file in .airflowignore",
        )
    for dag in file.dags:
        if problem := _refused_by_airflow(dag):
            yield Finding(
                file.name, file.line_of_dag(dag), "is-valid", f"Airflow refuses {dag.dag_id}: {problem}", "correct it"
            )
            continue
        for rule in (*SAFETY_RULES, *(PRODUCT_RULES if is_shipped(file, dag) else ())):
            name = rule.__name__.replace("_", "-")
            yield from (Finding(file.name, *_placed(found, name)) for found in rule(file, dag))


def _placed(found: tuple[int, str, str], rule: str) -> tuple[int, str, str, str]:
    line, message, remedy = found
    return line, rule, message, remedy


def _refused_by_airflow(dag: Any) -> str | None:
    from airflow.serialization.serialized_objects import DagSerialization

    try:
        dag.check_cycle()
        dag.validate()
        DagSerialization.to_dict(dag)
    except Exception as error:
        return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
    return None


def _at_parse(path: Path) -> list[Finding]:
    from orchestration.dag_rules import parses_without_work

    try:
        file = parse(path)
    except Unreadable as error:
        return [error.finding]
    return [Finding(file.name, *_placed(found, AT_PARSE)) for found in parses_without_work(file, None)]


def _doubles(files: list[DagFile]) -> Iterator[Finding]:
    first: dict[str, DagFile] = {}
    for file in files:
        for dag in file.dags:
            other = first.setdefault(dag.dag_id, file)
            if other is not file:
                yield Finding(
                    file.name,
                    file.line_of_dag(dag),
                    "has-an-id-of-its-own",
                    f"{other.name} holds a DAG {dag.dag_id!r} too: Airflow shows one of them",
                    "give this one another id",
                )


def main(arguments: list[str]) -> int:
    """Check, print and, if asked, accept graphs. Returns 1 where something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m orchestration.dag_check", description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, default=[PROJECT / "dags"], metavar="DIR or FILE")
    parser.add_argument("--accept", action="store_true", help="keep the graphs as they are now")
    given = parser.parse_args(arguments)
    started = time.monotonic()
    with _quiet_airflow():
        from orchestration.dag_watch import load_watched

        sys.path[:0] = [str(PROJECT), *(str(path if path.is_dir() else path.parent) for path in given.paths)]
        try:
            done = check(given.paths, load_watched)
        except FileNotFoundError as error:
            parser.error(str(error))
        _graphs(given.paths, done, given.accept)
    for finding in done.findings:
        print(finding)
    dags = sum(len(file.dags) for file in done.files)
    said = f"{len(done.findings)} finding{'' if len(done.findings) == 1 else 's'}" if done.findings else "no fault"
    print(f"{dags} DAG{'' if dags == 1 else 's'}: {said} ({time.monotonic() - started:.1f} s)")
    return 1 if done.findings else 0


def _graphs(paths: list[Path], done: Checked, accept_them: bool) -> None:
    """Show or accept changed graphs of folders; a file alone is compared with its folder's graph."""
    from orchestration.dag_graph import accept, differences

    for path in (given.resolve() for given in paths):
        directory = (path if path.is_dir() else path.parent) / "graphs"
        mine = [file for file in done.files if file.path.is_relative_to(path)]
        pattern = "*.txt" if path.is_dir() else f"{path.stem}.txt"
        if accept_them:
            for written in accept(mine, directory, pattern):
                print(f"kept {shown(written)}")
        elif directory.is_dir() and (changed := list(differences(mine, directory, pattern))):
            print("\n\n".join(changed))
            print("The graph changed, which is no fault. To keep the new one: make dag-graphs, and commit it\n")


class _quiet_airflow:
    """Airflow with a home of its own where none is set, and without its log: the findings are what is to be read."""

    def __enter__(self) -> None:
        import logging

        self._home = None if "AIRFLOW_HOME" in os.environ else tempfile.mkdtemp(prefix="baton-dag-check-")
        if self._home:
            os.environ["AIRFLOW_HOME"] = self._home
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)

    def __exit__(self, *_: object) -> None:
        import logging

        logging.disable(logging.NOTSET)
        if self._home:
            shutil.rmtree(self._home, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
