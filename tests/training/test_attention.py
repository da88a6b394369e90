"""Documents that share a block are trained as if each were alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handoff.errors import ConfigError, SourceError
from training.config import BaseModelConfig, TrainingConfig
from training.data.ingest import rows_of
from training.data.packing import Block, Passage, pack
from training.recipe import next_token_loss
from training.worker.attention import check_boundaries, check_causal, check_positions, layout_of
from training.worker.step import Layout, micro_batches

CONFIG = TrainingConfig(base=BaseModelConfig(source="/models/m"))
LENGTHS = (9, 30, 1, 17, 5, 21, 13)
SEQ_LEN = 48


def tiny(name: str, directory: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, BertConfig, BloomConfig, GPTJConfig, RobertaConfig

    torch.manual_seed(0)
    if name == "llama":
        return AutoModelForCausalLM.from_pretrained(directory).eval().requires_grad_(False)
    sizes = {"vocab_size": 384, "n_layer": 2, "n_head": 4, "bos_token_id": 0, "eos_token_id": 0}
    configs = {
        "gptj": lambda: GPTJConfig(n_embd=64, rotary_dim=8, n_positions=64, **sizes),
        "bloom": lambda: BloomConfig(hidden_size=64, **sizes),
        "bert": lambda: BertConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=384),
        "roberta": lambda: RobertaConfig(
            hidden_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=384, pad_token_id=1, is_decoder=True,
            max_position_embeddings=512, initializer_range=0.2,
        ),
    }  # fmt: skip
    return AutoModelForCausalLM.from_config(configs[name]()).eval().requires_grad_(False)


def loss_of(model: Any, blocks: list[Block], *, one_row: bool = False) -> float:
    rows = rows_of(blocks, len(blocks), SEQ_LEN)
    layout = replace(layout_of(model, CONFIG), one_row=one_row)
    return sum(float(next_token_loss(model, b)) for b in micro_batches(rows, len(blocks), "cpu", layout))


@pytest.mark.parametrize("name", ["llama", "gptj"])
def test_packed_and_unpacked_losses_agree(name: str, tiny_model: Path) -> None:
    model, rng = tiny(name, tiny_model), np.random.default_rng(0)
    passages = [Passage(rng.integers(1, 384, n).astype(np.int32)) for n in LENGTHS]
    packed = list(pack(passages, SEQ_LEN, 0))
    assert [len(b.lengths) for b in packed] == [4, 4], "documents share blocks"
    # A document alone, without a pad; one that is cut at the end of a block counts as two, packed or not.
    cut = [b.ids[sum(b.lengths[:n]) :][:length] for b in packed for n, length in enumerate(b.lengths)]
    alone = [next(pack([Passage(piece)], len(piece), 0)) for piece in cut]
    ids_alone = Layout(positions=False)  # as plain use gives a text
    each = [
        float(next_token_loss(model, next(micro_batches(rows_of([b], 1, len(b.ids)), 1, "cpu", ids_alone))))
        for b in alone
    ]
    targets = [max(len(piece) - 1, 1) for piece in cut]
    masked = [_document_loss(model, packed[n // 4], n % 4) for n in range(8)]
    for one, other, count in zip(each, masked, targets, strict=True):
        assert one / count == pytest.approx(other / count, abs=1e-4)
    assert loss_of(model, packed) == pytest.approx(sum(each), rel=1e-5)
    assert loss_of(model, packed, one_row=True) == pytest.approx(sum(each), rel=1e-5), "as varlen attention takes them"
    padded = list(pack(passages, SEQ_LEN, 0, padded=True))
    assert len(padded) == len(LENGTHS)


def _document_loss(model: Any, block: Block, number: int) -> float:
    """Summed loss of one document within its packed block."""
    begin = sum(block.lengths[:number])
    rows = rows_of([block], 1, SEQ_LEN)
    rows.labels[:, :begin] = rows.labels[:, begin + block.lengths[number] :] = -100
    return float(next_token_loss(model, next(micro_batches(rows, 1, "cpu", layout_of(model, CONFIG)))))


@pytest.mark.parametrize("name", ["llama", "gptj"])
def test_models_that_keep_documents_apart_are_accepted(name: str, tiny_model: Path) -> None:
    model = tiny(name, tiny_model).train()
    check_boundaries(model, model, CONFIG, "cpu")
    check_positions(model, model, CONFIG, "cpu")
    assert model.training


def test_padded_blocks_are_given_as_plain_use_gives_a_text(tiny_model: Path) -> None:
    """RoBERTa's positions begin after its padding token's id: from 0 on, the first loss was 4.59 instead of 4.63."""
    model = tiny("roberta", tiny_model)
    padded = CONFIG.model_copy(update={"packing": "padded"})
    with pytest.raises(
        ConfigError, match=r"RobertaForCausalLM counts positions in a way of its own: .*packing to padded"
    ):
        check_positions(model, model, CONFIG, "cpu")
    check_causal(model, model, padded, "cpu")
    passages = [Passage(np.arange(5, 5 + n, dtype=np.int32)) for n in (40, 20)]
    rows = rows_of(list(pack(passages, SEQ_LEN, 0, padded=True)), 2, SEQ_LEN)
    (batch,) = micro_batches(rows, 2, "cpu", layout_of(model, padded))
    assert set(batch) == {"input_ids", "labels"}
    plain = sum(_plain_loss(model, passage.ids) for passage in passages)
    assert float(next_token_loss(model, batch)) == pytest.approx(plain, rel=1e-5)


def _plain_loss(model: Any, ids: Any) -> float:
    """Summed loss of a text that is given to a model alone."""
    import torch

    row = torch.from_numpy(ids.astype(np.int64))[None]
    return float(model(row, labels=row).loss) * (len(ids) - 1)


def test_a_model_that_cannot_is_refused_with_the_remedy(tiny_model: Path) -> None:
    bloom = tiny("bloom", tiny_model)
    with pytest.raises(ConfigError, match=r"takes no position ids.*training\.packing to padded"):
        check_boundaries(bloom, bloom, CONFIG, "cpu")
    llama = tiny("llama", tiny_model)

    def crossing(input_ids: Any, **_: Any) -> Any:
        return llama(input_ids=input_ids)

    with pytest.raises(ConfigError, match="crosses document boundaries"):
        check_boundaries(crossing, llama, CONFIG, "cpu")


@pytest.mark.parametrize("name", ["llama", "gptj", "bloom"])
def test_causal_models_are_accepted(name: str, tiny_model: Path) -> None:
    model = tiny(name, tiny_model)
    check_causal(model, model, CONFIG, "cpu")


@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "roformer", "megatron-bert", "camembert"])
def test_an_encoder_with_a_decoders_class_is_refused_and_as_a_decoder_accepted(family: str) -> None:
    """Trained, it reads the tokens it is to predict: perplexity falls from 637 to 2.2 and it can write nothing."""
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {
        "vocab_size": 64,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    settings = AutoConfig.for_model(family, **sizes, max_position_embeddings=64, embedding_size=32)
    model = AutoModelForCausalLM.from_config(settings).eval()
    with pytest.raises(SourceError, match=r"tokens of .* see those after them .*Remedy"):
        check_causal(model, model, CONFIG, "cpu")
    settings.is_decoder = True
    decoder = AutoModelForCausalLM.from_config(settings).eval()
    check_causal(decoder, decoder, CONFIG, "cpu")
