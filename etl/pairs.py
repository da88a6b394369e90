"""Prompts with completions: one text in every step of the pipeline, two columns again when rows are written.

A separator stands between prompt and completion. Unicode reserves it for private use, no rule counts it as a word, and
it is removed from raw texts.
"""

SEPARATOR = "\ue000"
ARROW = " → "
TOO_LONG = "pair_too_long"


def joined(prompt: str, completion: str) -> str:
    """Prompt and completion as one text."""
    return f"{prompt.replace(SEPARATOR, '')}{SEPARATOR}{completion.replace(SEPARATOR, '')}"


def shown(text: str) -> str:
    """The text for people."""
    return text.replace(SEPARATOR, ARROW)
