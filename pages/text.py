"""Numbers, sizes and times as people read them."""

import re
from datetime import UTC, datetime

NARROW_SPACE = "\u202f"  # between a figure and its unit: never breaks
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s'\"]+:[^/@\s'\"]*(?=@)")


def count(number: float | None) -> str:
    """``9,412``; a dash for what is not known."""
    return "–" if number is None else f"{number:,.0f}"


def compact(number: float | None) -> str:
    """``134.5 M``: three or four digits and a unit of thousands."""
    if number is None:
        return "–"
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e5, "k")):
        if abs(number) >= limit:
            return f"{number / (1e3 if unit == 'k' else limit):.1f}{NARROW_SPACE}{unit}"
    return count(number)


def size(number: float | None) -> str:
    """Bytes in decimal units: ``4.2 MB``."""
    if number is None:
        return "–"
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= limit:
            return f"{number / limit:.1f}{NARROW_SPACE}{unit}"
    return f"{number:.0f}{NARROW_SPACE}B"


def duration(seconds: float | None) -> str:
    """``0.4 s``, ``24.1 s``, ``8 min 12 s``, ``3 h 05 min``."""
    if seconds is None:
        return "–"
    if seconds < 59.95:
        return f"{seconds:.1f}{NARROW_SPACE}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}{NARROW_SPACE}min {whole % 60:02d}{NARROW_SPACE}s"
    minutes = round(seconds / 60)
    return f"{minutes // 60}{NARROW_SPACE}h {minutes % 60:02d}{NARROW_SPACE}min"


def tick(seconds: float) -> str:
    """A round time on an axis: ``0``, ``30 s``, ``2 min``, ``1 h 30 min``; ``seconds`` has no more parts than that."""
    hours, rest = divmod(round(seconds), 3600)
    parts = ((hours, "h"), (rest // 60, "min"), (rest % 60, "s"))
    return " ".join(f"{n}{NARROW_SPACE}{unit}" for n, unit in parts if n) or "0"


def perplexity(value: float) -> str:
    """Four digits at most: ``61.20``, ``4.132``, ``1,250``."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}"


def share(part: float, whole: float) -> str:
    """Part of a whole in percent: ``14.6 %``; a share above zero is never shown as zero."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return f"<{NARROW_SPACE}0.1{NARROW_SPACE}%"
    return f"{percent:.1f}{NARROW_SPACE}%"


def change(ratio: float) -> str:
    """A ratio as a change: 0.734 is ``−27 %``."""
    percent = round(100 * (ratio - 1))
    sign = "−" if percent < 0 else "+" if percent > 0 else "±"
    return f"{sign}{abs(percent)}{NARROW_SPACE}%"


def date(moment: datetime | None) -> str:
    """``9 November 2026, 14:02 UTC``."""
    if moment is None:
        return "–"
    moment = moment.astimezone(UTC)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


def short_date(moment: datetime) -> str:
    """``2026-11-09 14:02`` in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def without_credentials(text: str) -> str:
    """``s3://key:secret@bucket`` becomes ``s3://…@bucket``: a report is passed on."""
    return _CREDENTIALS.sub("…", text)


def shorten(text: str, length: int) -> str:
    """At most ``length`` characters, with an ellipsis if something was cut."""
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"


def one_line(text: str) -> str:
    """Printable characters only, runs of white space as one space: safe to show on a terminal."""
    return " ".join("".join(c if c.isprintable() or c.isspace() else "�" for c in text).split())
