"""The two CPU stages around the model: rows → tokens, invalid prompts marked; tokens → text, in the declared schema."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from handoff import schema
from handoff.artifact import Artifact, open_artifact
from handoff.model_files import model_directory
from handoff.store import Store
from handoff.tokenizer import ModelTokenizer
from inference.config import InferenceConfig
from inference.engines.base import before_stop
from inference.quarantine import row_by_row
from inference.scoring import CHARACTERS_PER_TOKEN, completion_ids
from inference.template import ChatTemplate, Guard, columns_of, fill


@dataclass(frozen=True)
class ModelReference:
    """A model artifact by name: small enough to send to every worker, which finds the files on its own machine."""

    storage: str
    id: str

    @classmethod
    def of(cls, artifact: Artifact) -> "ModelReference":
        return cls(artifact.store.root, artifact.id)

    def directory(self) -> str:
        return model_directory(open_artifact(Store(self.storage), self.id))


@dataclass(frozen=True)
class Renderer:
    """Puts prompts into the template and tokenises them.

    Attributes:
        tokenizer: of the model that answers.
        template: text with names of columns in braces.
        chat: the chat template around it; None for none.
        max_prompt_tokens: the configured limit.
        positions: tokens that the model has room for before the completion; None: no limit known.
        given: the longest completion in tokens, where completions are given, to be scored; None where none are.
        guard: keeps special tokens out of what is put into the chat template; None to let them in.
    """

    tokenizer: ModelTokenizer
    template: str
    chat: ChatTemplate | None
    max_prompt_tokens: int
    positions: int | None
    given: int | None = None
    guard: Guard | None = None

    @classmethod
    def of(cls, directory: str, config: InferenceConfig, positions: int | None) -> "Renderer":
        """For the model in a directory, with room for ``positions`` tokens in all."""
        tokenizer = ModelTokenizer.of_directory(directory)
        chat = ChatTemplate.of_directory(directory) if config.chat else None
        guarded = chat is not None and config.special_tokens != "allow"
        return cls(
            tokenizer=tokenizer,
            template=config.template,
            chat=chat,
            guard=Guard.of(tokenizer, chat, config.special_tokens == "escape") if chat and guarded else None,
            max_prompt_tokens=config.max_prompt_tokens,
            positions=None if positions is None else positions - config.max_new_tokens,
            given=config.max_new_tokens if config.task == "score" else None,
        )

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Render and tokenise; a prompt that cannot be answered gets an error instead.

        Args:
            batch: columns of ``handoff.schema.PROMPTS`` and those that the template names.

        Returns:
            The batch with ``rendered`` (string), ``prompt_ids`` (list of int32), both null with an error,
            ``prompt_tokens`` (int32) and ``error`` (string); with given completions ``completion_ids`` as well.
        """
        named = columns_of(self.template)
        limit, name = self.max_prompt_tokens, "max_prompt_tokens"
        if self.positions is not None and self.positions < limit:
            limit, name = self.positions, "the model's positions less max_new_tokens"
        table = batch.select(["prompt", *named])
        rows, errors = row_by_row(
            lambda places: table.take(pa.array(places, pa.int64())).to_pylist(),
            range(len(batch)), [None] * len(batch), "its columns cannot be read",
        )  # fmt: skip
        most = limit * CHARACTERS_PER_TOKEN
        errors = [why or self._unfit(row or {}, named, most) for row, why in zip(rows, errors, strict=True)]
        made, errors = row_by_row(self._texts, rows, errors, "the chat template fails")
        texts, refused = zip(*(pair or (None, None) for pair in made), strict=True)
        errors = [why or also for why, also in zip(errors, refused, strict=True)]
        encode = self.tokenizer.rendered if self.chat else self.tokenizer.prompts
        tokens, errors = row_by_row(encode, texts, errors, "the tokenizer fails")
        ids: list[list[int] | None] = []
        counts: list[int] = []
        for n, found in enumerate(tokens):
            counts.append(len(found or ()))
            if errors[n] is None and not found:
                errors[n] = "the prompt has no token that the tokenizer knows"
            elif errors[n] is None and counts[n] > limit:
                errors[n] = f"the prompt has {counts[n]} tokens, the limit is {limit} ({name})"
            ids.append(None if errors[n] else found)
        if self.given is not None:
            given, errors = completion_ids(self.tokenizer, texts, batch["completion"].to_pylist(), errors, self.given)
            batch = batch.append_column("completion_ids", pa.array(given, pa.list_(pa.int32())))
            ids = [None if why else made for made, why in zip(ids, errors, strict=True)]
        return (
            batch.append_column("rendered", pa.array(texts, pa.string()))
            .append_column("prompt_ids", pa.array(ids, pa.list_(pa.int32())))
            .append_column("prompt_tokens", pa.array(counts, pa.int32()))
            .append_column("error", pa.array(errors, pa.string()))
        )

    def _unfit(self, row: dict[str, Any], named: Sequence[str], most: int) -> str | None:
        if row["prompt"] is None or not row["prompt"].strip():
            return "the prompt is empty"
        if empty := [name for name in named if row[name] is None]:
            return f"the column {empty[0]} of the template is null"
        if (length := sum(len(str(value)) for value in row.values())) > most:
            return f"the prompt has {length} characters, more than {CHARACTERS_PER_TOKEN} for each token of the limit"
        return None

    def _texts(self, rows: Sequence[dict[str, Any] | None]) -> list[tuple[str | None, str | None]]:
        """The text of each row, or why it cannot be used."""
        made: list[tuple[str | None, str | None]] = []
        for row in filter(None, rows):
            safe, why = self.guard.safe(row) if self.guard else (row, None)
            text = fill(self.template, safe)
            made.append((None, why) if why else (self.chat.render(text) if self.chat else text, None))
        return made


def finish(batch: pa.Table, tokenizer: ModelTokenizer, carry: Sequence[str] = (), stop: Sequence[str] = ()) -> pa.Table:
    """Decode the completions and give the rows their declared schema.

    Args:
        batch: what the model stage returns.
        tokenizer: of the model that answers.
        carry: columns of the prompts that follow the declared ones.
        stop: texts that end a completion, cut off with what follows.

    Returns:
        Rows of ``handoff.schema.PREDICTIONS`` and the carried columns: one per answer, one for a prompt without.
    """
    answers = batch["answers"].to_pylist()
    repeats = pa.array([n for n, given in enumerate(answers) for _ in given or (None,)], pa.int64())
    flat = [answer for given in answers for answer in (given or (None,))]
    rows = batch.drop_columns(["answers"]).take(repeats)
    texts = [
        None if answer is None else before_stop(tokenizer.completion(ids, answer["token_ids"]), stop)
        for ids, answer in zip(rows["prompt_ids"].to_pylist(), flat, strict=True)
    ]
    values = {
        "sample": [number for given in answers for number in range(len(given or (None,)))],
        "completion": texts,
        "baseline": [None] * len(flat),
        "completion_tokens": [len(a["token_ids"]) if a else 0 for a in flat],
        "finish_reason": [a["finish_reason"] if a else None for a in flat],
        "logprobs": [a["logprobs"] if a else None for a in flat],
    }
    declared = schema.with_columns(schema.PREDICTIONS, [batch.schema.field(name) for name in carry])
    columns = [pa.array(values[f.name], f.type) if f.name in values else rows[f.name] for f in declared]
    return pa.table(columns, schema=declared)
