"""A stage's record is never left running: every exception type with every kind of argument, in each stage's body."""

import builtins
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handoff import errors
from handoff.errors import (
    EXIT_FAILED,
    EXIT_INFRASTRUCTURE,
    EXIT_INTERRUPTED,
    EXIT_USER_ERROR,
    BatonError,
    InfrastructureError,
)
from handoff.job import run_stage
from handoff.run_dir import RunDir, StageRecord
from handoff.stages import STAGES

LONGEST_RECORD_BYTES = 50_000


class Unspeakable:
    """An object whose text cannot be made."""

    def __str__(self) -> str:
        raise SystemExit("asked for its text")

    __repr__ = __str__


class Stubborn(Exception):
    """Takes several arguments, and shows no text."""

    def __init__(self, one: int, two: str, *, three: float) -> None:
        super().__init__(one, two, three)

    def __str__(self) -> str:
        raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")


class Loop(Exception):
    """Is its own cause."""

    def __init__(self) -> None:
        self.cause = self.__cause__ = self


ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "none": (), "text": ("it failed",), "empty": ("",), "bytes": (b"\xff\xfe",), "number": (3.5,), "None": (None,),
    "two": ("a", 2), "huge": ("x" * 3_000_000,), "lines": ("\n\n  \nsecond line\n" * 1000,), "surrogate": ("half \ud800 of one",),
    "NUL": ("a\0b\x1b[31m",), "object": (object(),), "unspeakable": (Unspeakable(),), "exception": (ValueError("inner"),),
    "remedy": ("wrong. Remedy: correct it",), "percent": ("100 %s %d {x}",),
}  # fmt: skip


def types() -> Iterator[type[BaseException]]:
    import ray.exceptions
    import ray.train

    for module in (builtins, errors, ray.exceptions, ray.train):
        for name, found in sorted(vars(module).items()):
            if inspect.isclass(found) and issubclass(found, BaseException) and not name.startswith("_"):
                yield found


SPECIAL: list[BaseException] = [
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), UnicodeEncodeError("utf-8", "\ud800", 0, 1, "x"),
    UnicodeTranslateError("\ud800", 0, 1, "x"), OSError(28, "No space left on device"), OSError(2, "gone", "/x/\udcff"),
    errors.ArtifactError("m", ["a", "b"], "c"), ExceptionGroup("g", [ValueError("\ud800"), Stubborn(1, "2", three=3)]),
    BaseExceptionGroup("g", [KeyboardInterrupt()]), Stubborn(1, "2", three=3), Loop(), SystemExit(0), SystemExit(2),
    SystemExit("text"), KeyError("q"), StopIteration(1), StopAsyncIteration(), GeneratorExit(),
]  # fmt: skip


def made() -> list[tuple[str, BaseException]]:
    cases = [(f"special {type(e).__name__} {n}", e) for n, e in enumerate(SPECIAL)]
    for of in types():
        for name, arguments in ARGUMENTS.items():
            try:
                cases.append((f"{of.__name__} of {name}", of(*arguments)))
            except BaseException:  # not made of these: the constructor's own error is a case as well
                continue
    return cases


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(str(tmp_path / "run-1"))
    run.create(str(tmp_path / "artifacts"), {})
    return run


def check(run: RunDir, stage: str, what: str) -> StageRecord:
    data = run.read(f"stages/{stage}.json")
    json.loads(data.decode("utf-8"))
    record = run.record(stage)
    assert record and record.status == "failed" and record.ended and record.error, what
    assert len(data) < LONGEST_RECORD_BYTES and "\0" not in record.error, what
    return record


def test_every_exception_with_every_kind_of_argument(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    cases = made()
    assert len(cases) > 1500 and len({type(error) for _, error in cases}) > 100
    for number, (what, error) in enumerate(cases):
        stage = STAGES[number % len(STAGES)].name

        def body(run: RunDir, record: StageRecord, error: BaseException = error) -> None:
            raise error

        code = run_stage(stage, body, [run.uri])
        out = capsys.readouterr().out
        record = check(run, stage, what)
        assert code in (EXIT_FAILED, EXIT_USER_ERROR, EXIT_INFRASTRUCTURE, EXIT_INTERRUPTED), what
        assert record.retry_helps == (code != EXIT_USER_ERROR), what
        ours = isinstance(error, BatonError | InfrastructureError)  # whose messages may have several lines
        last = out if ours else out.strip().splitlines()[-1]
        assert f"ERROR {stage}: " in last and len(out) < LONGEST_RECORD_BYTES, what
        out.encode("utf-8")


@pytest.mark.parametrize("stage", [stage.name for stage in STAGES])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, ValueError, errors.EngineUnavailable])
def test_each_stage_is_closed_by_each_kind(run: RunDir, stage: str, kind: type[BaseException]) -> None:
    def body(run: RunDir, record: StageRecord) -> None:
        with record.phase("work"):
            raise kind("it ends here")

    assert run_stage(stage, body, [run.uri]) != 0
    assert [phase.name for phase in check(run, stage, kind.__name__).phases] == ["work"]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(
    "put",
    [
        {"headline": "half \ud800 of one"}, {"headline": 5}, {"metrics": {"x": object()}}, {"metrics": {"x": {1, 2}}},
        {"metrics": {"x": "\udcff"}}, {"metrics": {("a", 1): 2}}, {"artifact": b"\xff"}, {"phases": ["no phase"]}, {"metrics": None},
    ],
)  # fmt: skip
def test_what_a_stage_puts_into_its_record_cannot_leave_it_running(
    run: RunDir, put: dict[str, Any], fails: bool
) -> None:
    def body(run: RunDir, record: StageRecord) -> None:
        for name, value in put.items():
            setattr(record, name, value)
        if fails:
            raise errors.ConfigError("wrong. Remedy: correct it")

    code = run_stage("train", body, [run.uri])
    record = run.record("train")
    assert record and record.ended and record.status != "running"
    if fails:
        assert code == EXIT_USER_ERROR and record.error == "ConfigError: wrong. Remedy: correct it"
    else:
        assert (record.status == "success") == (code == 0)
