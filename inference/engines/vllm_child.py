"""The other end of ``vllm.py``: runs in vLLM's environment, which has nothing of this project but this file.

It reads a line of JSON per request from standard input and writes one per answer to standard output.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any


def end_with_parent() -> None:
    """End this process once the one that started it is gone, whatever the model is doing."""
    parent = int(os.environ["BATON_PARENT"])

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Model:
    """vLLM with the settings of the first request."""

    def __init__(self, setup: dict[str, Any]) -> None:
        from vllm import LLM

        self._setup = setup
        self._llm = LLM(
            model=setup["model"],
            dtype=setup["dtype"],
            tensor_parallel_size=setup["tensor_parallel"],
            max_model_len=setup["max_tokens"],
            skip_tokenizer_init=not setup["stop"],
            enforce_eager=setup["eager"],
            enable_prefix_caching=True,
            max_logprobs=1,
            disable_log_stats=True,
            **setup["options"],
        )

    def limits(self) -> dict[str, Any]:
        """None: what vLLM does with batches is not tried here."""
        return {}

    def generate(self, prompts: list[list[int]], seeds: list[list[int]]) -> list[Any]:
        from vllm import SamplingParams

        how = self._setup
        logprobs = 0 if how["logprobs"] else None  # 0: of the chosen token alone
        rows = [(prompt, seed) for prompt, own in zip(prompts, seeds, strict=True) for seed in own]
        params = [
            SamplingParams(
                max_tokens=how["max_new_tokens"], temperature=how["temperature"], top_p=how["top_p"], seed=seed,
                stop=how["stop"] or None, stop_token_ids=how["stop_ids"], ignore_eos=True, logprobs=logprobs,
                detokenize=bool(how["stop"]),
            )
            for _, seed in rows
        ]  # fmt: skip
        asked: list[Any] = [{"prompt_token_ids": prompt} for prompt, _ in rows]
        answers = [self._answer(o.outputs[0]) for o in self._llm.generate(asked, params, use_tqdm=False)]
        each = len(seeds[0])
        return [answers[first : first + each] for first in range(0, len(answers), each)]

    def _answer(self, output: Any) -> Any:
        ids = list(output.token_ids)
        if ids and ids[-1] in self._setup["stop_ids"]:
            ids.pop()
        logprobs = None
        if self._setup["logprobs"]:
            logprobs = [step[token].logprob for token, step in zip(ids, output.logprobs, strict=False)]
        return ids, "length" if output.finish_reason == "length" else "stop", logprobs

    def score(self, prompts: list[list[int]], completions: list[list[int]]) -> list[list[float]]:
        from vllm import SamplingParams

        whole = [prompt + completion for prompt, completion in zip(prompts, completions, strict=True)]
        params = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0, detokenize=False)
        asked: list[Any] = [{"prompt_token_ids": ids} for ids in whole]
        scores = []
        for prompt, ids, o in zip(prompts, whole, self._llm.generate(asked, params, use_tqdm=False), strict=True):
            first = len(prompt)
            scores.append([o.prompt_logprobs[n][ids[n]].logprob for n in range(first, len(ids))])
        return scores


def serve(load: Callable[[dict[str, Any]], Any]) -> None:
    """Answer requests, a line of JSON each, until standard input ends.

    Args:
        load: makes the model of the first request; its ``limits``, ``generate`` and ``score`` return what JSON can hold.
    """
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not get between the answers
    end_with_parent()
    model: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        result: Any = None
        try:
            if model is None:
                model = load(request)
                result = model.limits()
            elif request.pop("task") == "generate":
                result = model.generate(**request)
            else:
                result = model.score(**request)
            reply = {"result": result}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    serve(Model)
