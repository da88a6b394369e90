"""``python -m comparison.measure.cell SPEC.json``: one fresh process that measures one form at one size.

It starts the engine, does the work once, then again warm, and appends a line of JSON to its log after each: what was
done, from when to when on the machine's monotonic clock, and the digest of the output. The parent, which samples the
processes' use of CPU and memory, joins the two. Digests are made outside of the timed spans.
"""

import json
import shutil
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from comparison.digest import close, digest_of
from comparison.engines import session, spilled_bytes
from comparison.form import Form, Stage, Work
from comparison.registry import stage
from handoff.causes import cause_of, safe_text


@dataclass(frozen=True)
class Spec:
    """What a cell shall do.

    Attributes:
        stage, form: names.
        tuned: whether the form and the session may choose settings.
        megabytes: of text in the tables.
        tables: directory of the input.
        scratch: directory of this cell alone.
        kept: where the first run's output stays.
        log: file for the lines of JSON.
        cores, memory_bytes, seed, options: as in :class:`comparison.form.Work`.
        warm_runs: after the first.
        began: monotonic seconds when the parent started the process.
    """

    stage: str
    form: str
    tuned: bool
    megabytes: float
    tables: str
    scratch: str
    kept: str
    log: str
    cores: int
    memory_bytes: int
    warm_runs: int
    seed: int
    began: float
    options: dict[str, Any]

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> "Spec":
        return cls(**json.loads(path.read_text()))


def run_cell(spec: Spec) -> None:
    """Measure one form, and leave a line in the log after each phase; an error ends it with a line that says so."""
    scratch = Path(spec.scratch)
    one = stage(spec.stage)
    form = one.form(spec.form)
    try:
        changed = spec.options.get("settings")
        engine = session(
            form.engine, spec.cores, spec.memory_bytes, spec.tuned, scratch, megabytes=spec.megabytes, changed=changed
        )
        with engine as spark:
            _tell(spec, phase="start", run=0, begin=spec.began, end=time.monotonic())
            for run in range(1 + spec.warm_runs):
                output = Path(spec.kept) if run == 0 else scratch / f"output-{run}"
                shutil.rmtree(output, ignore_errors=True)
                output.parent.mkdir(parents=True, exist_ok=True)
                work = _work(spec, output, spark)
                before = spilled_bytes(form.engine, spark)
                line = _timed(form, work, run)
                after = spilled_bytes(form.engine, spark)
                spilled = None if before is None or after is None else after - before
                _tell(spec, **line, **_checked(one, spec, output), spilled_bytes=spilled)
                if run:
                    shutil.rmtree(output, ignore_errors=True)
    except BaseException as error:
        _tell(spec, phase="failed", message=cause_of(error).sentence, text=safe_text(error)[:2000])
        raise


def _work(spec: Spec, output: Path, spark: Any) -> Work:
    return Work(
        tables=Path(spec.tables), output=output, scratch=Path(spec.scratch), megabytes=spec.megabytes,
        cores=spec.cores, memory_bytes=spec.memory_bytes, tuned=spec.tuned, seed=spec.seed, spark=spark,
        options=spec.options,
    )  # fmt: skip


def _timed(form: Form, work: Work, run: int) -> dict[str, Any]:
    begin = time.monotonic()
    figures = form.run(work)
    end = time.monotonic()
    return {
        "phase": "warm" if run else "first", "run": max(run - 1, 0), "begin": begin, "end": end,
        "figures": figures or {},
    }  # fmt: skip


def _checked(one: Stage, spec: Spec, output: Path) -> dict[str, Any]:
    """Rows and digest of an output. Floats are compared with the first run's, whose digest then stands for both."""
    if one.compared == "close" and (apart := close(Path(spec.kept), output, one.tolerance)):
        raise AssertionError(f"two runs of one form differ: {apart}")
    seen = digest_of(Path(spec.kept) if one.compared == "close" else output, one.compared)
    return {"digest": str(seen), "rows": seen.rows}


def _tell(spec: Spec, **line: Any) -> None:
    with Path(spec.log).open("a") as file:
        file.write(json.dumps(line) + "\n")


def read_log(path: Path) -> Iterable[dict[str, Any]]:
    """The lines that a cell left; the last one may be cut off where it was killed."""
    if not path.exists():
        return []
    whole = path.read_text().splitlines()
    lines = []
    for line in whole:
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            assert line is whole[-1], f"{path}: a line in the middle is no JSON"
    return lines


if __name__ == "__main__":
    run_cell(Spec.load(Path(sys.argv[1])))
