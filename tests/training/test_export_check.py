"""What is learnt is what is served: tokenizers that broke tuned models elsewhere, trained, exported and asked.

Training here is the project's own loading, tokens, packing, loss and export around torch's optimizer: seconds for each.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from handoff.publish import staging
from handoff.store import Store
from handoff.tokenizer import ModelTokenizer
from inference.config import InferenceConfig
from inference.text_stages import ModelReference
from tests.inference.support import complete, prompt_table
from tests.tokenizers import TOKENIZERS, appending, digits, llama2, metaspace, sums, write_model
from training.config import BaseModelConfig, LoraConfig, TrainingConfig
from training.data.ingest import Passages, rows_of
from training.data.packing import pack
from training.export import model as export
from training.export.check import ExportDiffers, check, compare, reference
from training.recipe import next_token_loss
from training.worker.model import load_model
from training.worker.step import Layout, micro_batches, targets_of

SEQ_LEN = 64


def config_of(base: Path, **settings: Any) -> TrainingConfig:
    return TrainingConfig(base=BaseModelConfig(source=str(base)), **{"method": "full", "seq_len": SEQ_LEN, **settings})


class Trained:
    """A model that learnt pairs by heart, as a module and exported.

    Args:
        base: Hugging Face directory.
        pairs: prompts and completions.
        directory: for the corpus file and the export.
        config: the training section.
        steps: of AdamW over all pairs; 0 leaves the base's weights.
    """

    def __init__(
        self, base: Path, pairs: tuple[list[str], list[str]], directory: Path, config: TrainingConfig, steps: int
    ) -> None:
        import torch

        directory.mkdir()
        file = directory / "pairs.parquet"
        pq.write_table(pa.table({"prompt": pairs[0], "completion": pairs[1]}), file)
        tokenizer = ModelTokenizer.of_directory(base)
        passages = Passages(None, (str(file),), (len(pairs[0]),), tokenizer, 1.0, 1, pairs=True)
        blocks = list(pack(passages.stream_here(), SEQ_LEN, tokenizer.end_id, pairs=True))
        rows = rows_of(blocks, len(blocks), SEQ_LEN)
        torch.manual_seed(0)
        model = load_model(str(base), config, 1)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3, weight_decay=0.0)
        for _ in range(steps):
            (batch,) = micro_batches(rows, len(blocks), "cpu", Layout())
            loss = next_token_loss(model, batch) / targets_of(rows.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.request = reference(model, model, passages, config, "cpu")
        self.exported = directory / "model"
        weights = export.gather(model, 0, zero_stage=0, trainable_only=config.method == "lora")
        export.save_model(weights, model, str(base), self.exported, config)

    def answers(self, prompts: list[str], store: Store) -> list[str]:
        """What the exported model, published and read by the inference stage, completes greedily."""
        with staging(store, "model", {"exported": str(self.exported)}, []) as place:
            shutil.copytree(self.exported, place.uri(), dirs_exist_ok=True)
            reference = ModelReference.of(place.publish())
        settings = InferenceConfig(temperature=0, max_new_tokens=8)
        return complete(reference, prompt_table(*prompts), settings, len(prompts))["completion"].to_pylist()


CASES: dict[str, tuple[Callable[[], Any], str, dict[str, Any]]] = {
    "digits in threes, and Qwen2 splits them singly": (digits, "{}", {}),
    "a space before every text": (metaspace, "{}", {}),
    "an end token behind every text": (appending, "{}", {}),
    "special tokens in the answer": (digits, "<ans>{}</ans>", {}),
    "another end token in the model's settings": (digits, "{}", {"eos": "<|im_end|>", "config_eos": 1}),
    "a word where the class's default end token is": (digits, "{}", {"config_eos": 7}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_tuned_model_answers_all_that_it_learnt(case: str, tmp_path: Path, store: Store) -> None:
    make, answer, settings = CASES[case]
    base = write_model(tmp_path / "base", make(), **settings)
    prompts, completions = sums(20, answer)
    trained = Trained(base, (prompts, completions), tmp_path / "trained", config_of(base), steps=150)
    assert trained.answers(prompts, store) == completions
    assert (trained.exported / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    found = compare(str(trained.exported), trained.request)
    assert found["problems"] == []
    rebuilt = make is not metaspace or found["auto_tokenizer"] == "differs"
    assert rebuilt, "Qwen2's AutoTokenizer builds a pre-tokenizer of its own, and that is told"


def test_answers_after_a_special_token_come_back_as_they_were_learnt(tmp_path: Path, store: Store) -> None:
    """Llama 2's tokenizer puts a space after it: " 5" was learnt for "5"."""
    base = write_model(tmp_path / "base", llama2())
    prompts, completions = sums(20)
    prompts = [f"{prompt}<ans>" for prompt in prompts]
    trained = Trained(base, (prompts, completions), tmp_path / "trained", config_of(base), steps=150)
    assert trained.answers(prompts, store) == completions
    assert compare(str(trained.exported), trained.request)["problems"] == []


def test_a_fresh_process_finds_an_export_the_same_or_says_what_differs(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", digits())
    trained = Trained(base, sums(), tmp_path / "trained", config_of(base), steps=2)
    assert check(trained.exported, trained.request, 120) == "differs", "as AutoTokenizer takes digits singly"
    shutil.copyfile(base / "model.safetensors", trained.exported / "model.safetensors")
    with pytest.raises(
        ExportDiffers, match=r"(?s)not published: .*logits of the first passages differ by .*\sRemedy"
    ) as error:
        check(trained.exported, trained.request, 120)
    assert "the loss of the first passages is" in str(error.value)
    (trained.exported / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ExportDiffers, match="plain transformers cannot load it"):
        check(trained.exported, trained.request, 120)


# -- the guard, with each mend taken back


def problems_of(
    tmp_path: Path, make: Callable[[], Any], settings: dict[str, Any] | None = None, **training: Any
) -> list[str]:
    base = write_model(tmp_path / "base", make(), **(settings or {}))
    trained = Trained(base, sums(), tmp_path / "trained", config_of(base, **training), steps=3)
    return compare(str(trained.exported), trained.request)["problems"]


def apart(
    self: ModelTokenizer, prompts: list[str], completions: list[str], *, end: bool
) -> list[tuple[list[int], int]]:
    """Prompt and completion tokenised apart, the prompt with whatever the tokenizer puts around it."""
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str(self.definition)
    given = [e.ids for e in backend.encode_batch(prompts)]
    answers = [e.ids for e in backend.encode_batch(completions, add_special_tokens=False)]
    return [(p + a + [self.end_id] * end, len(p)) for p, a in zip(given, answers, strict=True)]


def saved_anew(base: Path, directory: Path) -> None:
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(base).save_pretrained(directory)


def test_the_guard_sees_a_tokenizer_that_was_saved_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "copy_tokenizer", saved_anew)
    problems = problems_of(tmp_path, digits)
    assert "training saw other tokens of the prompt '10+10='" in problems[0], problems
    assert "its tokenizer files are not those that training used" in problems


@pytest.mark.filterwarnings("ignore:Model with")  # PEFT warns of it, too
@pytest.mark.parametrize("target", ["lm_head", "embed_tokens"])
def test_the_guard_sees_adapters_on_tied_weights(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lora = LoraConfig(rank=8, targets=("q_proj", target))
    problems = problems_of(tmp_path, digits, {"tied": True}, method="lora", lora=lora)
    assert any("the logits of the first passages differ" in p for p in problems), problems


def test_the_guard_sees_stop_tokens_that_were_not_taught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unchanged(base: Path, directory: Path, stop_ids: Any) -> None:
        shutil.copyfile(base / "generation_config.json", directory / "generation_config.json")

    monkeypatch.setattr(export, "_write_generation_settings", unchanged)
    problems = problems_of(tmp_path, digits, {"eos": "<|im_end|>"})
    assert problems == ["generation stops at the tokens [1], training taught that 2 of [2, 1] ends"]


def test_the_guard_sees_prompts_that_end_with_an_end_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelTokenizer, "pairs", apart)
    problems = problems_of(tmp_path, appending)
    assert "train row 0: the prompt ends with a token that ends a text" in problems


def test_the_guard_sees_completions_that_were_tokenised_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelTokenizer, "pairs", apart)
    problems = problems_of(tmp_path, metaspace)
    assert "with its completion '20'" in problems[0], problems


def test_an_export_keeps_sampling_defaults_that_transformers_loads_and_refuses_to_save(tmp_path: Path) -> None:
    """Many models on the hub have a temperature without do_sample; the export failed after training."""
    base = write_model(tmp_path / "base", digits())
    defaults = {"eos_token_id": 1, "temperature": 0.6, "top_p": 0.9}
    (base / "generation_config.json").write_text(json.dumps(defaults))
    trained = Trained(base, sums(), tmp_path / "trained", config_of(base), steps=0)
    assert json.loads((trained.exported / "generation_config.json").read_text()) == defaults


@pytest.mark.parametrize("name", TOKENIZERS)
def test_adapters_are_merged_in_the_precision_that_they_were_trained_in(name: str, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    base = write_model(tmp_path / "base", TOKENIZERS[name]())
    weights = {n: w.to(torch.float16) for n, w in load_file(base / "model.safetensors").items()}
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    settings = json.loads((base / "config.json").read_text()) | {"dtype": "float16"}
    (base / "config.json").write_text(json.dumps(settings))
    trained = Trained(base, sums(), tmp_path / "trained", config_of(base, method="lora"), steps=3)
    assert compare(str(trained.exported), trained.request)["problems"] == []


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_guard_sees_one_wrong_row_of_a_tensor_that_no_passage_reads(
    method: str, precision: str, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    base = write_model(tmp_path / "base", digits())
    trained = Trained(base, sums(), tmp_path / "trained", config_of(base, method=method, precision=precision), steps=3)
    assert compare(str(trained.exported), trained.request)["problems"] == []
    file = trained.exported / "model.safetensors"
    weights = load_file(file)
    assert trained.request["tensors"].keys() == weights.keys(), "all of them, adapters merged"
    absent = max(set(range(len(weights["model.embed_tokens.weight"]))) - set(trained.request["ids"].tolist()))
    weights["model.embed_tokens.weight"][absent] = weights["model.embed_tokens.weight"][absent - 1]
    save_file(weights, file, {"format": "pt"})
    assert compare(str(trained.exported), trained.request)["problems"] == [
        f"the tensor model.embed_tokens.weight is not the trained one: 1 of {len(weights['model.embed_tokens.weight'])} rows "
        f"differ, the first is {absent}"
    ]
