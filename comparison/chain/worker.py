"""One rank's training, under any launcher: the project's engine, step and blocks; a checkpoint every few steps."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from comparison.chain.dying import die_once
from comparison.chain.settings import CHECKPOINT_EVERY, Chain
from training.data.ingest import Cursor, Deal, Passages, Share
from training.data.packing import Passage

# Step and cursor at which to begin → the share of this rank in a step.
Feed = Callable[[int, Cursor], Callable[[int], Share]]
STATE = "state.json"


def passages_of(chain: Chain, files: list[str], kind: type[Passages] = Passages) -> Passages:
    """The ordered rows as training reads them, files in the given order."""
    import pyarrow.parquet as pq

    rows = tuple(pq.read_metadata(file).num_rows for file in files)
    return kind(None, tuple(files), rows, chain.tokenizer, 0.0, 1)


class ReadByRank(Passages):
    """Passages that each rank reads and tokenises itself, without an engine."""

    def stream(self, first: int = 0, times: int = 1) -> Iterator[Passage]:
        for start in (first, *[0] * (times - 1)):
            yield from islice(self.stream_here(), start, None)


def deal_of(chain: Chain) -> Deal:
    """How blocks are dealt to the ranks."""
    config = chain.training
    return Deal(
        config.seq_len,
        1,  # epoch
        config.num_workers,
        config.blocks_per_step,
        config.blocks_per_rank(config.num_workers),
    )


def train_rank(chain: Chain, rank: int, feed: Feed) -> None:
    """Train to the last step, from the last checkpoint where there is one; rank 0 leaves the model. All ranks call it.

    Leaves in ``chain.scratch``: ``tuned/``, and ``blocks-RANK.jsonl`` with step, loss and the digest of the rank's blocks.
    """
    import torch

    from training.export.model import gather, save_model
    from training.recipe import next_token_loss
    from training.worker.attention import layout_of
    from training.worker.deepspeed_config import learning_rate
    from training.worker.engine import make_engine
    from training.worker.step import Stepper

    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    config, kept = chain.training, chain.scratch / "checkpoint"
    begin, cursor = 0, Cursor()
    if (kept / STATE).exists():
        state = json.loads((kept / STATE).read_text())
        begin, cursor = state["step"], Cursor(**state["cursor"])
    share_of = feed(begin, cursor)
    engine, model = make_engine(chain.base, config, torch.device("cpu"), rank)
    if begin:
        engine.load_checkpoint(str(kept), tag=f"step-{begin}", load_lr_scheduler_states=False)
    stepper = Stepper(engine, next_token_loss, config.micro_batch_size, torch.device("cpu"), layout_of(model, config))
    with (chain.scratch / f"blocks-{rank}.jsonl").open("a") as told:
        for step in range(begin, chain.steps):
            share = share_of(step)
            if len(share.step_blocks) < config.blocks_per_step:
                raise ValueError(f"the rows have blocks for {step} steps, not for {chain.steps}")
            loss, _ = stepper.step(share.rows, share.step_targets, learning_rate(step, chain.steps, config))
            rows = share.rows
            seen = blake2b(b"".join(a.tobytes() for a in (rows.ids, rows.positions, rows.labels)), digest_size=16)
            print(json.dumps({"step": step, "loss": loss, "blocks": seen.hexdigest()}), file=told, flush=True)
            if rank and step == chain.steps // 2:
                die_once(chain.mark("train"))
            if (step + 1) % CHECKPOINT_EVERY == 0 and step + 1 < chain.steps:
                engine.save_checkpoint(str(kept), tag=f"step-{step + 1}", save_latest=False)
                torch.distributed.barrier()
                if rank == 0:
                    _note(kept, step + 1, share.cursor)
    weights = gather(model, rank, zero_stage=config.zero_stage, trainable_only=False)
    if rank == 0:
        save_model(weights, model, chain.base, chain.tuned, config)
    torch.distributed.barrier()


def _note(kept: Path, step: int, cursor: Cursor) -> None:
    """Say which checkpoint is whole: in one rename, after every rank has written."""
    aside = kept / f"{STATE}.new"
    aside.write_text(json.dumps({"step": step, "cursor": asdict(cursor)}))
    os.replace(aside, kept / STATE)


def losses_and_blocks(chain: Chain) -> Iterator[tuple[int, int, float, str]]:
    """Step, rank, loss and digest of the blocks; of a step that was done twice the last time."""
    for rank in range(chain.training.num_workers):
        lines = (chain.scratch / f"blocks-{rank}.jsonl").read_text().splitlines()
        last: dict[int, Any] = {entry["step"]: entry for entry in map(json.loads, lines)}
        for step, entry in sorted(last.items()):
            yield step, rank, entry["loss"], entry["blocks"]
