"""The evaluate stage on real models, Ray and MLflow: what holds the alias is defended, on rows that nobody was trained on."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluation.config import EvaluationConfig
from evaluation.functions import Functions
from evaluation.job import evaluate
from examples.own_metric import FUNCTIONS
from handoff.artifact import Artifact, open_artifact
from handoff.errors import ConfigError, GateFailed
from handoff.facts import EvaluationFacts, facts_of
from handoff.gate import Gate, gate_of
from handoff.manifest import now
from handoff.publish import describe_in_place, staging
from handoff.run_dir import RunDir, StageRecord
from handoff.store import Store
from registry.client import find_champion, open_registry
from registry.config import PromotionConfig
from registry.promote import promote
from tests.support import VERSES, publish_pairs, publish_rows

Publish = Callable[..., Artifact]
Evaluate = Callable[..., StageRecord]


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One MLflow for all tests, each of which has a registered model of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BATON_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield


@pytest.fixture
def poet(request: pytest.FixtureRequest) -> str:
    """Name of the registered model."""
    return str(request.node.name)


@pytest.fixture
def base(store: Store, tiny_model: Path) -> Artifact:
    with staging(store, "model", {"source": "tiny"}, []) as place:
        return place.publish(in_place=[describe_in_place(str(f)) for f in sorted(tiny_model.iterdir())])


@pytest.fixture
def tuned(store: Store, base: Artifact, tiny_corpus: Artifact, tiny_model: Path) -> Publish:
    """``tuned(60)``: the tiny model after so many plain steps on the verses, with the base and a corpus as parents."""

    def make(steps: int, corpus: Artifact = tiny_corpus, directory: Path = tiny_model, parents: Any = None) -> Artifact:
        above = [corpus, base] if parents is None else parents
        with staging(store, "model", {"steps": steps, "directory": str(directory)}, above) as place:
            shutil.copytree(directory, place.uri(), dirs_exist_ok=True)
            learn(Path(place.uri()), steps)
            return place.publish()

    return make


def learn(directory: Path, steps: int) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_pretrained(directory)
    batch = AutoTokenizer.from_pretrained(directory)(VERSES, return_tensors="pt", padding=True)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(steps):
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(directory)


@pytest.fixture
def evaluated(ray_cluster: None, store: Store, tiny_corpus: Artifact, tmp_path: Path, poet: str) -> Evaluate:
    """``evaluated("name", model)``: the record of an evaluation, which may have failed, in a run of this name."""

    def run_it(
        name: str, model: Artifact, corpus: Artifact = tiny_corpus, functions: Functions = FUNCTIONS, **evaluation: Any
    ) -> StageRecord:
        run = RunDir(str(tmp_path / "runs" / name))
        config = EvaluationConfig(**{"splits": ("test",), **evaluation})
        promotion = PromotionConfig(model_name=poet)
        sections = {"evaluation": config, "promotion": promotion}
        run.create(store.root, {k: v.model_dump(mode="json") for k, v in sections.items()} | {"training": {}})
        for stage, made in (("corpus", corpus), ("train", model)):
            run.save(StageRecord(stage=stage, status="success", started=now(), ended=now(), artifact=made.id))
        with run.stage("evaluate") as record:
            evaluate(run, record, functions)
        return record

    return run_it


def gate(record: StageRecord | None) -> Gate:
    found = gate_of(record)
    assert found
    return found


def promoted(tmp_path: Path, name: str) -> StageRecord:
    run = RunDir(str(tmp_path / "runs" / name))
    with run.stage("promote") as record:
        promote(run, record)
    return record


def test_a_worse_model_does_not_replace_a_better_champion(
    evaluated: Evaluate, tuned: Publish, poet: str, tmp_path: Path
) -> None:
    better, worse = tuned(60), tuned(4)
    first = evaluated("better", better)
    assert [v.why for v in gate(first).verdicts] == ["better", "no champion yet"]
    promoted(tmp_path, "better")
    with pytest.raises(GateFailed, match=r"bits_per_byte [\d.]+ against the champion [\d.]+: ratio .* limit 1: worse"):
        evaluated("worse", worse)
    run = RunDir(str(tmp_path / "runs" / "worse"))
    decided, facts = gate(run.record("evaluate")), facts_of(run.artifact("evaluate").manifest, EvaluationFacts)
    base, champion = decided.verdicts
    assert base.passed and base.change and 0.5 < base.change < 1, "it is better than its base"
    assert champion.low and champion.low > 1 and decided.champion_version == 1 and facts.champion == better.id
    split = facts.splits["test"]
    assert split.champion and split.base and split.tuned.passages == split.base.passages == split.champion.passages == 8
    with pytest.raises(GateFailed, match="is not promoted: on test, bits_per_byte"):
        promoted(tmp_path, "worse")
    again = evaluated("again", better)
    assert again.reused and again.artifact == first.artifact
    assert [v.why for v in gate(again).verdicts] == ["better", "it is the champion"]
    assert promoted(tmp_path, "again").reused
    found = find_champion(open_registry(), poet, "champion")
    assert found and (found.version, found.model) == (1, better.id)


def test_models_of_different_tokenizers_are_compared_by_bits_per_byte_alone(
    evaluated: Evaluate, tuned: Publish, tiny_corpus: Artifact, tmp_path: Path
) -> None:
    champion = tuned(2, directory=smaller_vocabulary(tmp_path / "other"), parents=[tiny_corpus])
    evaluated("champion", champion, gate=[{"metric": "bits_per_byte", "against": "value", "limit": 99}])
    promoted(tmp_path, "champion")
    with pytest.raises(ConfigError, match=r"another tokenizer.*Remedy: take the metric bits_per_byte"):
        evaluated("refused", tuned(60), gate=[{"against": "champion"}])
    record = evaluated("fair", tuned(60))
    facts = facts_of(RunDir(str(tmp_path / "runs" / "fair")).artifact("evaluate").manifest, EvaluationFacts)
    split = facts.splits["test"]
    assert split.champion and split.tuned.tokens and split.champion.tokens
    assert split.champion.tokens > split.tuned.tokens, "the same text, in more tokens"
    assert split.champion.bytes == pytest.approx(split.tuned.bytes, rel=0.05)
    assert gate(record).verdicts[1].why == "better"
    assert ("perplexity", "champion") not in {(c.metric, c.against) for c in facts.comparisons}


def smaller_vocabulary(directory: Path) -> Path:
    """A model like the tiny one with a tokenizer of 300 tokens."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe, end = ByteLevelBPETokenizer(), "<|endoftext|>"
    bpe.train_from_iterator(VERSES, vocab_size=300, special_tokens=[end])
    PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, eos_token=end, pad_token=end).save_pretrained(directory)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    LlamaForCausalLM(LlamaConfig(vocab_size=300, **shape, bos_token_id=0, eos_token_id=0)).save_pretrained(directory)
    return directory


def test_rows_that_the_champion_was_trained_on_decide_nothing(
    evaluated: Evaluate, tuned: Publish, store: Store, tmp_path: Path
) -> None:
    def rows(split: str, numbers: range) -> list[dict[str, Any]]:
        return [
            {"row_id": f"{split}-{n}", "doc_id": f"play-{n}", "position": 0, "text": f"{VERSES[n % 8]} {n}"}
            for n in numbers
        ]

    old = publish_rows(store, {"train": rows("train", range(8)), "test": rows("test", range(8, 12))})
    new = publish_rows(store, {"train": rows("train", range(8, 16)), "test": rows("test", range(4, 8))})
    both = publish_rows(store, {"train": rows("train", range(8, 16)), "test": rows("test", range(4, 24, 2))})
    evaluated("champion", tuned(20, old), old)
    promoted(tmp_path, "champion")
    challenger = tuned(40, new)
    with pytest.raises(
        ConfigError, match=r"no test passage is left .*\(4 rows: the champion was trained on its document"
    ):
        evaluated("none-left", challenger, new)
    evaluated("some-left", challenger, both)
    facts = facts_of(RunDir(str(tmp_path / "runs" / "some-left")).artifact("evaluate").manifest, EvaluationFacts)
    assert facts.left_out == {"test": {"the champion was trained on its document": 2}}
    assert facts.splits["test"].tuned.passages == 8


def test_a_model_without_a_base_is_judged_by_a_value_and_by_a_function_of_ones_own(
    evaluated: Evaluate, tuned: Publish, store: Store, tiny_corpus: Artifact, tmp_path: Path
) -> None:
    raw = open_artifact(store, tiny_corpus.manifest.parents[0].id)
    rows = [(" ".join(v.split()[:4]), f" {' '.join(v.split()[4:])}") for v in VERSES]
    pairs = publish_pairs(store, raw, {"train": rows, "test": rows})
    model = tuned(150, pairs, parents=[pairs])

    def starts_alike(prompt: str, completion: str, reference: str) -> float:
        if prompt.startswith("Rough"):
            raise ValueError("not this one")
        return FUNCTIONS["starts_alike"](prompt, completion, reference)

    criteria = [{"metric": "function:starts_alike", "against": "value", "limit": 0.5}, {"against": "value", "limit": 5}]
    record = evaluated("own", model, pairs, {"starts_alike": starts_alike}, gate=criteria, max_new_tokens=6)
    assert [v.passed for v in gate(record).verdicts] == [True, True] and "on test" in record.headline
    made = RunDir(str(tmp_path / "runs" / "own")).artifact("evaluate", digests=True)
    facts = facts_of(made.manifest, EvaluationFacts)
    (score,) = facts.scores
    assert (score.rows, facts.quarantined) == (7, {"function:starts_alike": 1}) and score.values["tuned"] > 0.5
    told = made.store.read(f"{made.manifest.kind}/{made.id}/{made.manifest.data}/quarantined.jsonl").decode()
    assert json.loads(told)["error"] == "ValueError: not this one"
    with pytest.raises(ConfigError, match=r"not made from another one.*no such function .known: starts_alike"):
        evaluated("unknown", model, pairs, gate=[{}, {"metric": "function:rhymes", "against": "value", "limit": 1}])
