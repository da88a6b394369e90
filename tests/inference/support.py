"""A run whose train stage has made a model: the tiny model as the base, and again with other weights as the tuned one."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from handoff import schema
from handoff.artifact import Artifact
from handoff.manifest import now
from handoff.publish import describe_in_place, staging
from handoff.run_dir import RunDir, StageRecord
from handoff.store import Store
from handoff.tokenizer import ModelTokenizer
from inference.config import InferenceConfig
from inference.generator import Generator
from inference.job import main_stage
from inference.text_stages import ModelReference, Renderer, finish
from tests.support import VERSES
from training.files import put_directory


def publish_models(store: Store, directory: Path, corpus: Artifact) -> tuple[Artifact, Artifact]:
    """(base, tuned). The base uses its files in place, as a local directory does."""
    with staging(store, "model", {"source": str(directory)}, []) as place:
        base = place.publish(in_place=[describe_in_place(str(f)) for f in sorted(directory.iterdir())])
    with staging(store, "model", {"steps": 1}, [corpus, base]) as place:
        with tempfile.TemporaryDirectory() as scratch:
            shutil.copytree(directory, scratch, dirs_exist_ok=True)
            shift_weights(Path(scratch))
            put_directory(Path(scratch), place)
        tuned = place.publish()
    return base, tuned


def shift_weights(directory: Path) -> None:
    """Change the weights a little, as tuning does."""
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(directory)
    torch.manual_seed(1)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn_like(weights) * 0.02)
    model.save_pretrained(directory)


def make_run(directory: Path, store: Store, tuned: Artifact, config: InferenceConfig) -> RunDir:
    """A run directory with this inference section and a finished train stage."""
    run = RunDir(str(directory))
    run.create(store.root, {"inference": config.model_dump(mode="json")})
    run.save(StageRecord(stage="train", status="success", started=now(), ended=now(), artifact=tuned.id))
    return run


def run_predict(run: RunDir) -> StageRecord:
    """Run the stage in this process, on the Ray that it has."""
    with run.stage("predict") as record:
        main_stage(run, record)
    return record


def rows_of(run: RunDir) -> list[dict[str, Any]]:
    """All rows of a run's predictions, in the order of their files."""
    return [row for file in run.artifact("predict").files() for row in pq.read_table(file).to_pylist()]


def prompt_table(*texts: str | None, **more: list[Any]) -> pa.Table:
    """Prompts with ids p0, p1, …, as a shard has them."""
    places = pa.array(range(len(texts)), pa.int64())
    columns = [places, [f"p{i}" for i in range(len(texts))], pa.array(texts, pa.string()), ["test"] * len(texts)]
    table = pa.table(columns, schema=schema.PROMPTS).add_column(0, "place", places)
    for name, values in more.items():
        table = table.append_column(name, pa.array(values))
    return table


def complete(
    model: ModelReference, table: pa.Table, config: InferenceConfig, rows: int, positions: int | None = None
) -> pa.Table:
    """The three stages without a cluster, over batches of ``rows``."""
    tokenizer = ModelTokenizer.of_directory(model.directory())
    generator, render = Generator(model, tokenizer, config), Renderer.of(model.directory(), config, positions)
    batches = [generator.answer(render(table.slice(start, rows))) for start in range(0, len(table), rows)]
    return pa.concat_tables([finish(batch, tokenizer, config.carry, config.stop) for batch in batches])


def write_prompts(file: Path, rows: int) -> str:
    """Prompts p0, p1, … of different lengths, as JSON lines; returns the file's path."""
    texts = [" ".join(f"{VERSES[n % len(VERSES)]} {n}".split()[: 3 + n % 9]) for n in range(rows)]
    file.write_text("".join(json.dumps({"id": f"p{n}", "prompt": text}) + "\n" for n, text in enumerate(texts)))
    return str(file)
