"""A model split over two processes: the token ids of the whole model, and a group that ends as one."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from handoff.errors import ConfigError
from handoff.tokenizer import ModelTokenizer
from inference.config import InferenceConfig
from inference.engines.load import load_engine
from inference.engines.split import SplitEngine, check_split
from tests.inference.test_engines import ending_tokenizer, prompts


def greedy(**values: Any) -> InferenceConfig:
    return InferenceConfig(max_new_tokens=24, temperature=0, logprobs=True, **values)


@pytest.mark.timeout(180)
def test_a_split_model_gives_the_token_ids_of_the_whole_one_and_is_started_anew_after_a_death(tiny_model: Path) -> None:
    asked, seeds, tokenizer = prompts(6), list(range(6)), ending_tokenizer(tiny_model)
    expected = [a[0] for a in load_engine(greedy(), str(tiny_model), tokenizer).generate(asked, seeds)]
    split = load_engine(greedy(tensor_parallel=2), str(tiny_model), tokenizer)
    assert isinstance(split, SplitEngine)
    try:
        found = [a[0] for a in split.generate(asked, seeds)]
        assert [a.token_ids for a in found] == [a.token_ids for a in expected]
        assert [a.finish_reason for a in found] == [a.finish_reason for a in expected]
        assert [a.logprobs for a in found] == [pytest.approx(a.logprobs, abs=1e-4) for a in expected]
        scores = split.score(asked, [a.token_ids for a in expected])
        assert scores == [pytest.approx(a.logprobs, abs=1e-4) for a in expected]

        first, second = (process.pid for process in split._processes)
        os.kill(second, signal.SIGKILL)
        with pytest.raises(RuntimeError, match=r"transformers, split: its process ended \(exit code.*-9"):
            split.generate(asked, seeds)
        assert not alive(first), "the other rank must not wait for ever"
        assert [a[0].token_ids for a in split.generate(asked, seeds)] == [a.token_ids for a in expected]
        ranks = [process.pid for process in split._processes]
    finally:
        split.close()
    assert not any(map(alive, ranks))


def alive(pid: int) -> bool:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    return True


def test_a_model_whose_heads_cannot_be_dealt_out_is_refused(tiny_model: Path) -> None:
    smollm2 = {
        "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
        "vocab_size": 49152,
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"9 attention heads and 3 of keys and values.*set it to 1 or 3"):
        check_split(smollm2, 2)
    check_split(smollm2, 3)
    with pytest.raises(ConfigError, match="Remedy: set it to 1 or 2"):  # before any process starts
        load_engine(greedy(tensor_parallel=3), str(tiny_model), ModelTokenizer.of_directory(tiny_model))
