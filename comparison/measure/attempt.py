"""One measured process: start it, wait for it, and join what it noted with the account of its processes."""

import ast
import inspect
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from comparison.config import ComparisonConfig
from comparison.measure.account import Account
from comparison.measure.cell import Spec, read_log
from comparison.results import Measurement, Phase, Status
from comparison.schedule import Cell

OUTPUT_TAIL = 4000  # characters of a failed process's output that are looked at


def attempt(
    cell: Cell,
    config: ComparisonConfig,
    tables: Path,
    scratch: Path,
    kept: Path,
    options: dict[str, Any],
    timeout: float,
) -> tuple[list[Measurement], bool]:
    """Measure a cell once.

    Args:
        tables: the input; read once before, so that every form finds it in the page cache.
        scratch: directory for the process, emptied before and after.
        kept: where its first output stays, of stages that are compared as floats.
        options: as in :class:`comparison.form.Work`.
        timeout: seconds for the whole process.

    Returns:
        A measurement per phase, a failure last where there was one; and whether the process ended by itself.
    """
    _into_page_cache(tables)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    base = _described(cell, os.getloadavg()[0], datetime.now(UTC))
    spec = Spec(
        stage=cell.stage.name, form=cell.form.name, tuned=cell.settings == "tuned", megabytes=cell.megabytes,
        tables=str(tables), scratch=str(scratch), kept=str(kept), log=str(scratch / "log.jsonl"),
        cores=config.usable_cores, memory_bytes=int(config.memory_gib * 2**30), warm_runs=0 if cell.form.cold_only else config.warm_runs,
        seed=config.seed, began=time.monotonic(), options=options,
    )  # fmt: skip
    spec.save(scratch / "spec.json")
    command = [sys.executable, "-m", "comparison.measure.cell", str(scratch / "spec.json")]
    cores = set(sorted(os.sched_getaffinity(0))[: config.usable_cores])
    output = scratch / "output.txt"
    memory = int(config.memory_gib * 2**30)
    with (
        output.open("w") as file,
        Account(command, cores=cores, memory_bytes=memory, stdout=file, stderr=file) as account,
    ):
        try:
            code: int | None = account.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
    lines = list(read_log(Path(spec.log)))
    measured = [_joined(base, line, account) for line in lines if line["phase"] != "failed"]
    if code != 0:
        said = output.read_text(errors="replace")[-OUTPUT_TAIL:] if output.exists() else ""
        measured.append(_failure(base, code, lines, timeout, said, account.killed))
    if cell.stage.compared != "close":
        shutil.rmtree(kept, ignore_errors=True)
    shutil.rmtree(scratch, ignore_errors=True)
    return measured, code is not None


def _described(cell: Cell, load: float, started: datetime) -> dict[str, Any]:
    return {
        "stage": cell.stage.name, "engine": cell.form.engine, "variant": cell.form.variant, "settings": cell.settings,
        "megabytes": cell.megabytes, "process": cell.process, "load": load, "started": started,
        "lines": lines_of(cell.form.run, *cell.form.sources),
    }  # fmt: skip


def _joined(base: dict[str, Any], line: dict[str, Any], account: Account) -> Measurement:
    used = account.between(line["begin"], line["end"])
    return Measurement(
        **base, phase=line["phase"], run=line["run"], status="ok", seconds=line["end"] - line["begin"],
        cpu_seconds=used.cpu_seconds, peak_bytes=used.peak_bytes, spilled_bytes=line.get("spilled_bytes"), foreign_cores=used.foreign_cores,
        digest=line.get("digest"), rows=line.get("rows"), message="", figures=line.get("figures", {}),
    )  # fmt: skip


def _failure(
    base: dict[str, Any], code: int | None, lines: list[dict[str, Any]], timeout: float, said: str, killed: int
) -> Measurement:
    """The result of a process that did not come to its end, in the phase that it was in."""
    told = next((line for line in lines if line["phase"] == "failed"), None)
    done = [line for line in lines if line["phase"] != "failed"]
    phase: Phase = "start" if not done else "first" if len(done) == 1 else "warm"
    status: Status = "failed"
    message = told["message"] if told else f"it ended with code {code}"
    if killed:
        status, message = (
            "memory",
            f"the kernel ended {killed} of its processes: they held more memory than each engine gets",
        )
    elif code is None:
        status, message = "timeout", f"not done after {timeout:.0f} s"
    elif code == -9 or any(word in (told or {}).get("text", "") + said for word in ("OutOfMemory", "MemoryError")):
        status, message = "memory", told["message"] if told else "it was killed, probably for its memory"
    return Measurement(
        **base, phase=phase, run=max(len(done) - 2, 0), status=status, seconds=None, cpu_seconds=None,
        peak_bytes=None, spilled_bytes=None, foreign_cores=None, digest=None, rows=None, message=message,
    )  # fmt: skip


def _into_page_cache(directory: Path) -> None:
    for path in sorted(directory.rglob("*.parquet")):
        with path.open("rb") as file:
            while file.read(1 << 22):
                pass


def lines_of(*functions: Callable[..., Any]) -> int:
    """Lines of code of functions as they are written, without blank lines, comments and docstrings."""
    total = 0
    for function in functions:
        source = textwrap.dedent(inspect.getsource(function))
        documented = {
            line
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None
            for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
        }
        for number, line in enumerate(source.splitlines(), 1):
            total += bool(line.strip()) and not line.strip().startswith("#") and number not in documented
    return total
