"""Prompts with completions: one text for every step of the pipeline, two columns again where rows are written.

Between prompt and completion stands a character that Unicode reserves for private use, is no word to any rule, and is
taken out of what is read.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column

SEAM = "\ue000"
ARROW = " → "
TOO_LONG = "pair_too_long"


def joined(prompt: str, completion: str) -> str:
    """One text of both."""
    return f"{prompt.replace(SEAM, '')}{SEAM}{completion.replace(SEAM, '')}"


def prompt(text: "Column") -> "Column":
    from pyspark.sql import functions as F

    return F.substring_index(text, SEAM, 1)


def completion(text: "Column") -> "Column":
    from pyspark.sql import functions as F

    return F.substring_index(text, SEAM, -1)


def shown(text: str) -> str:
    """A text for people."""
    return text.replace(SEAM, ARROW)


def shown_text(text: "Column") -> "Column":
    """The same for a column."""
    from pyspark.sql import functions as F

    return F.replace(text, F.lit(SEAM), F.lit(ARROW))
