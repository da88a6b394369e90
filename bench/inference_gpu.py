"""Inference on one GPU, without network; part of `make bench-gpu`. It needs torch and transformers alone.

Answers of random weights: at temperature 1 every token is about as likely as any other, so that answers end after a
geometrically distributed number of tokens, as one token in ``END_EVERY`` ends them. Prompts have 6 to 120 tokens.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.gpu_use import bandwidth, idle_share
from inference.engines.base import Sampling
from inference.engines.transformers import TransformersEngine

LLAMA_1B: dict[str, Any] = {
    "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 16,
    "max_position_embeddings": 2048, "vocab_size": 32_000,
}  # fmt: skip
SMOLLM2_135M: dict[str, Any] = {
    "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "max_position_embeddings": 2048, "vocab_size": 49_152, "tie_word_embeddings": True,
}  # fmt: skip
PROMPTS, LONGEST, END_EVERY = 512, 256, 64
PLAIN_BATCH, PLAIN_PROMPTS = 8, 32  # generate as most people call it; fewer prompts, as it takes long
PROFILED_TOKENS = 32  # of an answer: the profiler keeps every kernel
COMPARED, COMPARED_TOKENS = 16, 16  # prompts and tokens of the comparison in fp32


@dataclass(frozen=True)
class Ends:
    """What an engine asks of a tokenizer."""

    stop_ids: tuple[int, ...]

    @property
    def end_id(self) -> int:
        return self.stop_ids[0]


@dataclass(frozen=True)
class Settings:
    """What an engine asks of a configuration."""

    sampling: Sampling
    use_gpu: bool = True
    weights_dtype: str = "bfloat16"
    batch_tokens: int = 2**18
    cpus_per_actor: int = 8
    tensor_parallel: int = 1
    through_onednn: bool = False
    task: str = "generate"
    max_prompt_tokens: int = 120

    @property
    def max_new_tokens(self) -> int:
        return self.sampling.max_new_tokens


class Side:
    """One model and its prompts."""

    def __init__(self, directory: Path, sizes: dict[str, Any], use_gpu: bool = True) -> None:
        draw = random.Random(0)
        vocabulary = sizes["vocab_size"]
        self.directory, self.use_gpu = make(directory, sizes), use_gpu
        self.ends = Ends(tuple(range(0, vocabulary, END_EVERY)))
        self.prompts = [[draw.randrange(1, vocabulary) for _ in range(draw.randint(6, 120))] for _ in range(PROMPTS)]

    def engine(self, **values: Any) -> TransformersEngine:
        how = Sampling(values.pop("longest", LONGEST), values.pop("temperature", 1.0), 1.0)
        settings: Any = Settings(how, use_gpu=self.use_gpu, **values)
        tokenizer: Any = self.ends
        return TransformersEngine(settings, str(self.directory), tokenizer)

    def compared(self) -> str:
        """Greedy answers in fp32: the engine's in one batch beside generate's, one prompt at a time."""
        import torch

        engine = self.engine(longest=COMPARED_TOKENS, temperature=0, weights_dtype="float32")
        asked = self.prompts[:COMPARED]
        made = [answers[0].token_ids for answers in engine.generate(asked, list(range(COMPARED)))]
        same = 0
        for prompt, ids in zip(asked, made, strict=True):
            tokens = torch.tensor([prompt], device=engine.device)
            out = engine.model.generate(tokens, attention_mask=torch.ones_like(tokens))[0, len(prompt) :].tolist()
            same += ids == [t for n, t in enumerate(out) if not any(e in self.ends.stop_ids for e in out[: n + 1])]
        engine.close()
        return f"{same} of {COMPARED} greedy answers in fp32 equal to those of generate"

    def plain(self, engine: TransformersEngine, count: int) -> float:
        """Tokens per second of ``generate`` on the same model in batches of 8 in the prompts' order."""
        import torch

        tokens, begun = 0, time.monotonic()
        for first in range(0, count, PLAIN_BATCH):
            part = self.prompts[first : first + PLAIN_BATCH]
            ids, mask = engine.padded(part, 0)
            torch.manual_seed(first)
            made = engine.model.generate(
                ids, attention_mask=mask, do_sample=True, temperature=1.0, top_k=0, max_new_tokens=LONGEST
            )
            for row in made[:, ids.shape[1] :].tolist():
                tokens += next((n for n, token in enumerate(row) if token in self.ends.stop_ids), len(row))
        return tokens / (time.monotonic() - begun)

    def answer(self, engine: TransformersEngine, count: int) -> tuple[float, int, int]:
        """Seconds, tokens and forward passes of the engine in a loop over its batches."""
        passes = 0

        def count_pass(*_: Any) -> None:
            nonlocal passes
            passes += 1

        hook = engine.model.register_forward_pre_hook(count_pass)
        tokens, begun = 0, time.monotonic()
        for batch in engine.batches([len(prompt) for prompt in self.prompts[:count]]):
            made = engine.generate([self.prompts[i] for i in batch], batch)
            tokens += sum(len(answers[0].token_ids) for answers in made)
        hook.remove()
        return time.monotonic() - begun, tokens, passes


def make(directory: Path, sizes: dict[str, Any]) -> Path:
    """A Llama of random weights in bf16; made once."""
    if not (directory / "config.json").exists():
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(0)
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model: Any = LlamaForCausalLM(LlamaConfig(**sizes, bos_token_id=None, eos_token_id=None))
        model.to(torch.bfloat16).save_pretrained(directory)
    return directory


def measure(name: str, side: Side, device: str, left: Callable[[], float]) -> None:
    """Print the figures of one model as they are known."""
    print(f"{name}: {side.compared()}", flush=True)
    engine = side.engine()
    side.answer(engine, PLAIN_BATCH)  # the first kernels are loaded and chosen
    seconds, tokens, passes = side.answer(engine, PROMPTS)
    print(f"  transformers engine: {tokens / seconds:,.0f} tokens/s, {tokens:,} tokens in {seconds:.1f} s", flush=True)
    weights = sum(p.nbytes for p in engine.model.parameters())
    if speed := bandwidth(device):
        share = weights * passes / speed / seconds
        print(
            f"  share of the memory bandwidth bound ({weights / 1e9:.2f} GB x {passes} steps): {share:.3f}", flush=True
        )
    if left() > 0:
        plain = side.plain(engine, PLAIN_PROMPTS)
        print(f"  generate, batches of {PLAIN_BATCH}: {plain:,.0f} tokens/s", flush=True)
        print(f"  engine / generate: {tokens / seconds / plain:.1f} (goal 4)", flush=True)
    engine.close()
    if side.use_gpu and left() > 0:
        short = side.engine(longest=PROFILED_TOKENS)
        idle = idle_share(lambda: side.answer(short, PROMPTS // 4))
        short.close()
        if idle is not None:
            print(f"  GPU busy {100 * (1 - idle):.1f} % of the time, {PROMPTS // 4} prompts", flush=True)


def inference(home: Path, device: str, left: Callable[[], float]) -> None:
    """Both models, as long as time is left.

    Args:
        home: where the models are made.
        device: name of the card.
        left: seconds until the time for inference is up.
    """
    for name, sizes in (("SmolLM2-135M's shape", SMOLLM2_135M), ("1 B Llama", LLAMA_1B)):
        if left() <= 0:
            print(f"{name}: not measured, the time is up")
            continue
        measure(name, Side(home / name.split("'")[0].replace(" ", "-"), sizes), device, left)
    print("vllm: SKIPPED: it is measured by make bench-inference where its environment is")
