"""A row on which a step fails gets an error, and the rows beside it go on: in the CPU stages as in the model stage."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from handoff.causes import safe_text

Row = TypeVar("Row")
Made = TypeVar("Made")

ERROR_CHARACTERS = 500  # of a message that a row keeps


def described(error: BaseException) -> str:
    """An error as a row keeps it: class and first line."""
    text = safe_text(error, ERROR_CHARACTERS).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def row_by_row(
    step: Callable[[Sequence[Row]], Sequence[Made]], rows: Sequence[Row], errors: Sequence[str | None], what: str
) -> tuple[list[Made | None], list[str | None]]:
    """What a step makes of the rows without an error: of all at once, and where that raises, of each by itself.

    Args:
        step: makes one value of each row; it may raise whatever it likes.
        rows: its inputs.
        errors: why a row goes no further; None for good ones.
        what: failed, for the message.

    Returns:
        The values, null with an error, and the errors, those of the step among them.
    """
    good = [n for n, why in enumerate(errors) if why is None]
    made: list[Made | None] = [None] * len(rows)
    found = list(errors)
    try:
        whole = step([rows[n] for n in good]) if good else []
    except Exception:
        for n in good:
            try:
                (made[n],) = step([rows[n]])
            except Exception as error:
                found[n] = f"{what}: {described(error)}"
        return made, found
    for n, value in zip(good, whole, strict=True):
        made[n] = value
    return made, found
