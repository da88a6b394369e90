"""The declared Arrow schemas of what the engines hand to each other, and their fingerprints."""

import hashlib
import json

import pyarrow as pa

CORPUS = pa.schema(
    [
        pa.field("row_id", pa.string()),  # stable: same document text and position, same id
        pa.field("doc_id", pa.string()),  # the document that the passage was cut from
        pa.field("position", pa.int32()),  # 0-based place of the passage in its document
        pa.field("text", pa.string()),
    ]
)

PAIRS = pa.schema(  # a corpus of prompts with completions, of which only the completions are learnt
    [
        pa.field("row_id", pa.string()),
        pa.field("doc_id", pa.string()),
        pa.field("position", pa.int32()),
        pa.field("prompt", pa.string()),
        pa.field("completion", pa.string()),
    ]
)

PROMPTS = pa.schema(  # further columns follow: those that the template names or the predictions carry
    [
        pa.field("position", pa.int64()),  # 0-based place in the input
        pa.field("id", pa.string()),
        pa.field("prompt", pa.string()),
        pa.field("source", pa.string()),  # held-out, modern, or the file's name
    ]
)

PREDICTIONS = pa.schema(  # the columns that are carried through follow
    [
        pa.field("position", pa.int64()),  # of the prompt; rows are in this order
        pa.field("id", pa.string()),
        pa.field("sample", pa.int32()),  # 0-based number of the answer, where each prompt has several
        pa.field("prompt", pa.string()),
        pa.field("rendered", pa.string()),  # the text that the model was given
        pa.field("completion", pa.string()),  # null if `error` is set
        pa.field("baseline", pa.string()),  # the base model's completion, if one was asked for
        pa.field("error", pa.string()),  # why this prompt has no completion; null for a good row
        pa.field("prompt_tokens", pa.int32()),
        pa.field("completion_tokens", pa.int32()),
        pa.field("finish_reason", pa.string()),  # stop (an end token or a stop string) or length
        pa.field(
            "logprobs", pa.list_(pa.field("element", pa.float32()))
        ),  # natural, per token of the completion; null unless asked for
        pa.field("seconds", pa.float64()),  # wall time of the batch that this row was generated in
        pa.field("source", pa.string()),  # where the prompt came from: held-out, modern, or the file's name
    ]
)

SCORES = pa.schema(  # predictions of the task `score`; the columns that are carried through follow
    [
        pa.field("position", pa.int64()),  # of the prompt; rows are in this order
        pa.field("id", pa.string()),
        pa.field("prompt", pa.string()),
        pa.field("rendered", pa.string()),  # the text before the completion
        pa.field("completion", pa.string()),  # as it was given
        pa.field("log_likelihood", pa.float64()),  # natural, of the whole completion; null if `error` is set
        pa.field("baseline_log_likelihood", pa.float64()),  # under the base model, if it was asked
        pa.field("error", pa.string()),  # why this row has no score; null for a good row
        pa.field("prompt_tokens", pa.int32()),
        pa.field("completion_tokens", pa.int32()),
        pa.field("logprobs", pa.list_(pa.field("element", pa.float32()))),  # natural, per token; null unless asked for
        pa.field("seconds", pa.float64()),  # wall time of the batch that this row was scored in
        pa.field("source", pa.string()),
    ]
)


def with_columns(schema: pa.Schema, more: list[pa.Field]) -> pa.Schema:
    """A declared schema with further columns after its own."""
    return pa.schema([*schema, *more])


def describe(schema: pa.Schema) -> list[dict[str, str]]:
    """The schema as JSON: name and Arrow type of each field, in order.

    Nullability is left out: Spark writes every column as nullable, whatever was declared.
    """
    return [{"name": f.name, "type": str(f.type)} for f in schema]


def fingerprint(schema: pa.Schema) -> str:
    """SHA-256 (16 hex digits) of :func:`describe`; equal for schemas that are the same to a reader."""
    return hashlib.sha256(json.dumps(describe(schema)).encode()).hexdigest()[:16]


def differences(expected: list[dict[str, str]], found: list[dict[str, str]]) -> list[str]:
    """Every difference between the two, in words; empty when they agree."""
    want = {f["name"]: f["type"] for f in expected}
    have = {f["name"]: f["type"] for f in found}
    problems = [f"column {n!r} ({t}) is missing" for n, t in want.items() if n not in have]
    problems += [f"column {n!r} ({t}) is not declared" for n, t in have.items() if n not in want]
    problems += [f"column {n!r} is {have[n]}, declared {t}" for n, t in want.items() if n in have and have[n] != t]
    if not problems and list(want) != list(have):
        problems.append(f"columns are in the order {list(have)}, declared {list(want)}")
    return problems
