"""Prompts with completions: one text for every step of the pipeline, two columns again where rows are written.

Between prompt and completion stands a character that Unicode reserves for private use, is no word to any rule, and is
taken out of what is read.
"""

SEAM = "\ue000"
ARROW = " → "
TOO_LONG = "pair_too_long"


def joined(prompt: str, completion: str) -> str:
    """One text of both."""
    return f"{prompt.replace(SEAM, '')}{SEAM}{completion.replace(SEAM, '')}"


def shown(text: str) -> str:
    """A text for people."""
    return text.replace(SEAM, ARROW)
