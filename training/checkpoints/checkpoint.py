"""Checkpoints of a training: DeepSpeed's shards, this project's state files, and digests that are checked before loading.

Each rank writes its own files into a local directory; Ray Train uploads them into one, while training goes on. DeepSpeed's shards are
pickles, which can run code when loaded: they are read only after each rank has found its own files unchanged.
"""

import base64
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from handoff.errors import ArtifactError
from handoff.store import resolve, sha256_of
from training.data.ingest import Cursor

TAG = "engine"
EXPORT = "model"  # directory of the exported model in the last checkpoint
AUDIT = "audit"  # directory of the ranks' lists of consumed blocks, in the exported model
TRACE = "trace.json"


@dataclass(frozen=True)
class TrainingProgress:
    """Where training stands: optimizer steps done, blocks consumed, and rank 0's trace.

    Attributes:
        restarts: attempts before this one that left a checkpoint.
        trace: one entry per step.
        audit: ids of the blocks that this rank consumed, per step.
    """

    step: int = 0
    cursor: Cursor = field(default_factory=Cursor)
    restarts: int = 0
    trace: tuple[dict[str, Any], ...] = ()
    audit: tuple[tuple[str, ...], ...] = ()


def save(
    directory: Path, engine: Any, rank: int, world_size: int, progress: TrainingProgress, *, adapters_only: bool
) -> None:
    """Write this rank's part of a checkpoint; every rank calls it.

    Args:
        directory: empty, of this rank alone.
        engine: the DeepSpeed engine.
        rank: world rank.
        world_size: ranks that write.
        progress: as of now.
        adapters_only: leave frozen parameters out; they come from the base model.
    """
    engine.save_checkpoint(str(directory), tag=TAG, save_latest=False, exclude_frozen_parameters=adapters_only)
    state = {"step": progress.step, "cursor": asdict(progress.cursor), "random": _random_state()}
    _state_of(directory, rank).write_text(json.dumps(state))
    write_audit(directory / AUDIT, rank, progress)
    if rank == 0:
        write_trace(directory, progress, world_size, {})
    write_digests(directory, rank)


def write_digests(directory: Path, rank: int) -> None:
    """Note the SHA-256 of every file that this rank wrote; written last."""
    digests = {
        str(f.relative_to(directory)): sha256_of(*resolve(str(f))) for f in sorted(directory.rglob("*")) if f.is_file()
    }
    _digests_of(directory, rank).write_text(json.dumps(digests, indent=1))


def problems_of(directory: Path, rank: int) -> list[str]:
    """Every file of a rank that is missing or does not match its recorded digest; empty if all match."""
    listed = _digests_of(directory, rank)
    try:
        digests = json.loads(listed.read_text())
    except FileNotFoundError:
        return [f"{listed.name} is missing"]
    except ValueError:
        return [f"{listed.name} was changed: it is no JSON"]
    problems = []
    for name, digest in digests.items():
        if not (directory / name).is_file():
            problems.append(f"file {name} is missing")
        elif sha256_of(*resolve(str(directory / name))) != digest:
            problems.append(f"file {name} was changed: its SHA-256 differs from the one noted when it was written")
    return problems


def verify(directory: Path, world_size: int) -> None:
    """Compare the files of all ranks with their digests.

    Raises:
        ArtifactError: naming every file that is missing or was changed.
    """
    if problems := [p for rank in range(world_size) for p in problems_of(directory, rank)]:
        raise ArtifactError(f"checkpoint {directory}", problems, "remove it, and the run goes on from the one before")


def write_audit(directory: Path, rank: int, progress: TrainingProgress) -> None:
    """Write what a rank consumed: a line per step, ``{"step": 3, "blocks": ["0-8", "0-9"]}``; ids are epoch-index."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"step": n, "blocks": blocks}) for n, blocks in enumerate(progress.audit, 1)]
    _audit_of(directory, rank).write_text("".join(f"{line}\n" for line in lines))


def _audit_of(directory: Path, rank: int) -> Path:
    return directory / f"rank-{rank}.jsonl"


def _digests_of(directory: Path, rank: int) -> Path:
    return directory / f"digests-rank{rank}.json"


def _state_of(directory: Path, rank: int) -> Path:
    return directory / f"state-rank{rank}.json"


def world_size_of(directory: Path) -> int | None:
    """World size of the group that wrote a checkpoint; None if unreadable, which rank 0's digests then report as well."""
    try:
        return int(json.loads((directory / TRACE).read_text())["world_size"])
    except (OSError, ValueError, KeyError):
        return None


def previous_ranks(directory: Path, rank: int, world_size: int) -> range:
    """Ranks of the group that wrote a checkpoint whose files and audit a rank of a new group takes over."""
    return range(rank, world_size_of(directory) or world_size, world_size)


def progress_of(directory: Path, rank: int, world_size: int) -> TrainingProgress:
    """Where training stood, for one rank of a group of any size; call after the digests were compared."""
    state = json.loads(_state_of(directory, 0).read_text())  # step and cursor are the same on every rank
    noted = json.loads((directory / TRACE).read_text())
    audit: list[tuple[str, ...]] = [()] * state["step"]
    for before in previous_ranks(directory, rank, world_size):
        for n, line in enumerate(_audit_of(directory / AUDIT, before).read_text().splitlines()):
            audit[n] += tuple(json.loads(line)["blocks"])
    return TrainingProgress(
        state["step"], Cursor(**state["cursor"]), noted["restarts"], tuple(noted["steps"]), tuple(audit)
    )


def write_trace(directory: Path, progress: TrainingProgress, world_size: int, sizes: dict[str, Any]) -> None:
    """Write the facts of the model's manifest: steps, restarts, sizes of the model and of the group."""
    noted = {"world_size": world_size, "restarts": progress.restarts, "steps": list(progress.trace), "sizes": sizes}
    (directory / TRACE).write_text(json.dumps(noted))


def restore(directory: Path, engine: Any, rank: int, *, adapters_only: bool) -> None:
    """Load model, optimizer and random state, in a group of the size of that which saved them.

    Call after every rank's :func:`problems_of` found none.
    """
    load(directory, engine, adapters_only=adapters_only)
    _set_random_state(json.loads(_state_of(directory, rank).read_text())["random"])


def load(directory: Path, engine: Any, *, adapters_only: bool) -> None:
    """Load model and optimizer from DeepSpeed's part of a checkpoint."""
    engine.load_checkpoint(
        str(directory), tag=TAG, load_module_strict=not adapters_only, load_lr_scheduler_states=False
    )


def _random_state() -> dict[str, str]:
    import torch

    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return {device: base64.b64encode(state.numpy().tobytes()).decode() for device, state in states.items()}


def _set_random_state(states: dict[str, str]) -> None:
    import torch

    setters = {"cpu": torch.set_rng_state, "cuda": torch.cuda.set_rng_state}
    for device, state in states.items():
        if device == "cuda" and not torch.cuda.is_available():
            continue  # an attempt on GPUs left this checkpoint; use_gpu is no part of the model's id
        setters[device](torch.frombuffer(bytearray(base64.b64decode(state)), dtype=torch.uint8))
