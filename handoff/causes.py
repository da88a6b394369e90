"""What went wrong, out of whatever an engine put around it: one sentence, and whether trying again can help.

Ray wraps an exception of a task, an actor, a data stage or a training worker in exceptions of its own, and often hands
over no more than its traceback as text. Ray is not imported here: its classes are known by name.
"""

import builtins
import errno
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from handoff import errors
from handoff.errors import BatonError, InfrastructureError

Kind = Literal["user", "outside", "unknown"]
ORDER: tuple[Kind, ...] = (
    "user",
    "outside",
    "unknown",
)  # of several failures of one stage, the first kind is its cause

ROOT = str(Path(__file__).resolve().parent.parent)
WRAPPER_CHARACTERS = 200_000  # of a wrapper's text that are searched
TEXT_CHARACTERS = 4000  # of what is told; an engine's message may be a hundred megabytes

# The same input fails again. A bare Exception is what libraries written in Rust raise (tokenizers).
DETERMINISTIC = (
    ValueError, TypeError, LookupError, ArithmeticError, AssertionError, AttributeError, NameError, ImportError,
    NotImplementedError, SyntaxError, RecursionError,
)  # fmt: skip
LIBRARIES = ("peft", "tokenizers", "transformers", "safetensors", "safetensors_rust", "jinja2", "pyo3_runtime")
PASSES = (ConnectionError, TimeoutError, MemoryError, EOFError)
# Ray's words for a machine, a process or an object that is gone, by what to do about it.
MEMORY = "leave a worker more memory: fewer of them on a machine, or smaller batches"
DEATHS = {
    "OutOfMemoryError": MEMORY,
    "OutOfDiskError": "free space on the machine's disk",
    "ObjectStoreFullError": "give Ray's object store more memory, or free its spill directory",
    "RayActorError": "none, it is tried again; if it happens each time, look whether memory ran out there",
    "WorkerCrashedError": "none, it is tried again; if it happens each time, look whether memory ran out there",
    **dict.fromkeys(
        ("NodeDiedError", "LocalRayletDiedError", "ObjectLostError", "RpcError", "GetTimeoutError", "RaySystemError",
         "TaskPlacementGroupRemoved", "ActorPlacementGroupRemoved", "PreemptionError", "NCCLHangError", "RuntimeEnvSetupError",
         "WorkerGroupStartupTimeoutError", "WorkerGroupStartupFailedError", "WorkerHealthCheckFailedError",
         "WorkerHealthCheckTimeoutError", "InsufficientClusterResourcesError", "CollectiveTimeoutError"),
        "none, it is tried again",
    ),
}  # fmt: skip
LOST_PEER = re.compile(
    r"connection (was )?(refused|reset|closed|aborted)|broken pipe|connection error|timed out|Max retries exceeded|name resolution",
    re.I,
)

# pyarrow's words for an S3 store that does not answer, or has too much to do.
STORE_GONE = re.compile(
    r"AWS Error (NETWORK_CONNECTION|REQUEST_TIMEOUT|INTERNAL_FAILURE|SERVICE_UNAVAILABLE|SLOW_DOWN|THROTTLING|UNKNOWN \(HTTP status 50\d\))"
)
STORE_REMEDY = "see that the store at"


@dataclass(frozen=True)
class Cause:
    """Why something failed.

    Attributes:
        kind: ``user``: what was given must change first; ``outside``: it may pass by itself; ``unknown``.
        sentence: what happened, where, and the remedy where there is one; bounded, and valid UTF-8 without NUL.
        name: of the exception's class.
        explained: whether it is one of our own errors, which needs no traceback.
    """

    kind: Kind
    sentence: str
    name: str
    explained: bool = False

    @property
    def told(self) -> str:
        """The sentence after the class's name."""
        return f"{self.name}: {self.sentence}" if self.explained else self.sentence

    @property
    def store_is_gone(self) -> bool:
        """Whether the object store does not answer, after all the attempts of :mod:`handoff.s3`."""
        return STORE_REMEDY in self.sentence

    @property
    def retry_helps(self) -> bool:
        return self.kind != "user"


def cause_of(error: BaseException) -> Cause:
    """The innermost cause of an exception, through the wrappers of Ray, Ray Data, Ray Train and exception groups."""
    found = _innermost(error)
    if found.explained or found.kind == "outside":
        return found
    # A failure on the way out of an explained one, or of a process that died, is none of its own.
    for link in _chain(error):
        other = _innermost(link)
        if other.explained or other.kind == "outside":
            return other
    return found


def safe_text(value: object, limit: int = TEXT_CHARACTERS) -> str:
    """``str(value)`` that can be written as UTF-8 and shown: bounded, lone surrogates and NUL escaped, and never an error."""
    try:
        text = str(value)
    except BaseException as error:  # an object of the user's, whatever it does
        text = f"<its text cannot be made: {type(error).__name__}>"
    if len(text) > limit:
        text = f"{text[: limit // 2]} … {len(text) - limit:,} characters … {text[-limit // 2 :]}"
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def safe_traceback(error: BaseException) -> str:
    """A traceback that can be written as UTF-8, its end first where it is long."""
    try:
        text = "".join(traceback.format_exception(error))
    except BaseException:  # of an exception that cannot be shown
        text = "".join(traceback.format_tb(error.__traceback__)) + type(error).__name__
    lines = [line for line in safe_text(text, 20_000).splitlines() if "[state-dump]" not in line]
    return "\n".join(lines)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """What an exception was raised from, or while handling; the nearest first."""
    seen: set[int] = {id(error)}
    link: BaseException | None = error
    while link is not None:
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
        if link is None or id(link) in seen:
            return
        seen.add(id(link))
        yield link


def _innermost(error: BaseException, depth: int = 0, around: str = "") -> Cause:
    """The cause inside an exception; ``around`` is the text of its wrapper, which has the traceback that was lost on the way."""
    names = {c.__name__ for c in type(error).__mro__}
    if depth < 20 and (parts := _parts(error, names)):
        text = safe_text(error, WRAPPER_CHARACTERS) if names & {"RayTaskError", "UserExceptionWithTraceback"} else ""
        causes = [_innermost(part, depth + 1, text or around) for part in parts]
        return min(causes, key=lambda cause: ORDER.index(cause.kind))
    only_text = names & {"RayTaskError", "UserCodeException"} or getattr(error, "_actor_init_failed", False) is True
    if only_text and (parsed := _of_text(safe_text(error, WRAPPER_CHARACTERS))):
        return parsed
    frames = [(f.filename, f.lineno or 0) for f in traceback.extract_tb(error.__traceback__)]
    return _classified(type(error), safe_text(error), _place(frames or _frames(around.splitlines())), error)


def _parts(error: BaseException, names: set[str]) -> list[BaseException]:
    """What a wrapper holds; nothing for what is none."""
    if isinstance(error, BaseExceptionGroup):
        return list(error.exceptions)
    held: Iterable[object] = ()
    if "RayTaskError" in names:
        cause = vars(error).get("cause")
        # Ray Data hands over a class without what it was raised from, and Ray one for what cannot be pickled.
        held = () if type(cause).__name__ in ("UserCodeException", "RayError", "RayTaskError") else (cause,)
    elif "UserCodeException" in names:
        held = (error.__cause__,)
    elif "TrainingFailedError" in names:
        failures = getattr(error, "worker_failures", None)
        held = failures.values() if isinstance(failures, dict) else (getattr(error, "controller_failure", None),)
    elif "UserExceptionWithTraceback" in names:
        held = (getattr(error, "_base_exc", None),)
    return [part for part in held if isinstance(part, BaseException) and part is not error]


# -- tracebacks as text

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_RAISED = re.compile(r"^((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)(?:: (.*))?$")
_BETWEEN = ("The above exception was the direct cause", "During handling of the above exception")
_WRAPPERS = {"UserCodeException", "RayTaskError", "SystemException", "UserExceptionWithTraceback", "ActorDiedError"}
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


def _of_text(text: str) -> Cause | None:
    """The last exception in a chain of tracebacks that is no wrapper."""
    blocks: list[list[str]] = [[]]
    for line in _ANSI.sub("", text).splitlines():
        if line.startswith(_BETWEEN):
            blocks.append([])
        elif line.strip():
            blocks[-1].append(line)
    for block in reversed(blocks):
        framed = [n for n, line in enumerate(block) if line.startswith(" ")]
        after = block[framed[-1] + 1 :] if framed else block
        raised = _RAISED.match(after[0]) if after else None
        if raised is None:
            continue
        module, _, name = raised[1].rpartition(".")
        if name in _WRAPPERS:
            continue
        message = "\n".join([raised[2] or "", *after[1:]]).strip()
        return _classified(_class_named(module, name), message, _place(_frames(block)), None, raised[1])
    return None


def _class_named(module: str, name: str) -> type[BaseException]:
    """The class of this name, where its module is loaded here; else one of the name that stands for it."""
    known = getattr(sys.modules.get(module) if module else builtins, name, None) or getattr(errors, name, None)
    if isinstance(known, type) and issubclass(known, BaseException):
        return known
    return type(name, (RuntimeError,), {"__module__": module})


def _frames(lines: Iterable[str]) -> list[tuple[str, int]]:
    return [(found[1], int(found[2])) for line in lines if (found := _FRAME.search(line))]


def _place(frames: Sequence[tuple[str, int]]) -> str | None:
    """``training/data/packing.py, line 88``: the last frame of this project or the user's; None where all are libraries'."""
    for file, line in reversed(frames):
        if "site-packages" not in file and "/lib/python3" not in file and not file.startswith("<"):
            return f"{safe_text(file).removeprefix(ROOT + '/')}, line {line}"
    return None


# -- what it means


def _classified(
    of: type[BaseException], text: str, place: str | None, error: BaseException | None, named: str | None = None
) -> Cause:
    if issubclass(of, BatonError):
        return Cause("user", safe_text(text) if text.strip() else of.__name__, of.__name__, explained=True)
    if issubclass(of, InfrastructureError):
        return Cause("outside", safe_text(text) if text.strip() else of.__name__, of.__name__, explained=True)
    kind, remedy = _kind(of, text, error)
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    what = f"{named or of.__name__}: {first}" if first else f"{named or of.__name__}"
    if remedy and not what.endswith("."):
        what += "."
    sentence = f"{what.removesuffix('.')} ({place})" + ("." if remedy else "") if place else what
    return Cause(kind, safe_text(f"{sentence} Remedy: {remedy}" if remedy else sentence), of.__name__)


def _kind(of: type[BaseException], text: str, error: BaseException | None) -> tuple[Kind, str | None]:
    for base in of.__mro__:
        if base.__module__.split(".")[0] == "ray" and base.__name__ in DEATHS:
            return "outside", DEATHS[base.__name__]
    if issubclass(of, PASSES) or of.__name__ == "BrokenProcessPool":
        return "outside", MEMORY if issubclass(of, MemoryError) or of.__name__ == "BrokenProcessPool" else None
    if of.__name__ == "OutOfMemoryError":  # of torch: on a device, whose memory nobody else takes
        return "user", "lower the batch size or the sequence length"
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in text:
        return "unknown", None
    if issubclass(of, UnicodeEncodeError) and "surrogates not allowed" in text:
        return "user", "the text holds half of a surrogate pair, which is no character: write its file as UTF-8 anew"
    if STORE_GONE.search(text):
        return "outside", f"{STORE_REMEDY} {_store()} runs and is reached from here; the task is tried again"
    if issubclass(of, DETERMINISTIC):
        return "user", None
    if LOST_PEER.search(text):
        return "outside", None
    return ("user" if of is Exception or of.__module__.split(".")[0] in LIBRARIES else "unknown"), None


def _store() -> str:
    """The store that S3 URIs lead to."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "AWS"
