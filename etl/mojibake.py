"""Text that was encoded in UTF-8 and once decoded as something else: repaired by ftfy, line by line.

ftfy (Speer 2019) knows the look of UTF-8 that was read as Latin-1, Windows-1250 to 1254 and 1257, ISO 8859-2, MacRoman or
code page 437. It cannot tell what was lost in Shift JIS, GBK, Big5, EUC-KR or the Windows code pages of Hebrew, Arabic,
Thai and Vietnamese: texts in languages that are written in these are left as they are.

A repair is made only if it can be undone to the letter. ftfy's guesses at lost bytes are off, and so is its reading of C1
control characters as Windows-1252.
"""

import functools
import re
from typing import Any

import pyarrow as pa
from pyspark.sql import Column
from pyspark.sql import functions as F

from etl.words import is_ascii

CLOSING = "”’»…›–—“‘„‚«‹•°ºª©®™€£¿¡"
# A capital at a word's end before such a sign, `IRMÃ”` in Portuguese and `ĐÃ…` in Vietnamese, may be what was meant.
_UPPER = "".join(chr(code) for code in range(0x2000) if chr(code).isupper())
MAY_BE_MEANT = re.compile(rf"(?<=[{_UPPER}])[{_UPPER[26:]}](?=[{CLOSING}](?![^\W\d_]))")
CAPITAL = "A"  # in place of the capital, to see whether anything else in the line looks wrong


@functools.cache
def hint() -> str:
    """Java's pattern of two characters that a line with such text has: a lead byte and a next one, in any of the encodings."""
    from ftfy.chardata import CHARMAP_ENCODINGS

    def characters(first: int, last: int) -> str:
        decoded = (bytes([b]).decode(e, "ignore") for e in CHARMAP_ENCODINGS for b in range(first, last + 1))
        return "".join(sorted(rf"\x{{{ord(c):x}}}" for c in set("".join(decoded)) if ord(c) > 0x7F))

    return f"[{characters(0xC2, 0xF4)}](?=[{characters(0x80, 0xBF)}])"


@functools.cache
def _hint() -> re.Pattern[str]:
    return re.compile(re.sub(r"\\x\{(\w+)\}", lambda found: re.escape(chr(int(found.group(1), 16))), hint()))


@functools.cache
def _settings() -> Any:
    from ftfy import TextFixerConfig

    return TextFixerConfig(
        restore_byte_a0=False, replace_lossy_sequences=False, decode_inconsistent_utf8=False, fix_c1_controls=False
    )


def repaired_line(line: str) -> str:
    """The line as it was meant, or as it is."""
    from ftfy.badness import is_bad
    from ftfy.chardata import UTF8_DETECTOR_RE

    if not _hint().search(line) or not is_bad(line) or not is_bad(MAY_BE_MEANT.sub(CAPITAL, line)):
        return line
    whole = _decoded(line)
    if whole != line:
        return whole
    # Right and wrong text in one line: each place by itself.
    return UTF8_DETECTOR_RE.sub(lambda found: _place(found, line), line)


def _place(found: re.Match[str], line: str) -> str:
    from ftfy.badness import is_bad

    place = found.group()
    meant = bool(MAY_BE_MEANT.match(line, found.start()))
    return place if meant or not is_bad(place) else _decoded(place)


def _decoded(text: str) -> str:
    """What ftfy makes of a text, if its steps lead back to the text."""
    from ftfy import fix_encoding_and_explain

    fixed, explanation = fix_encoding_and_explain(text, _settings())
    plan, back = explanation or [], fixed
    try:
        for (encode, encoding), (decode, decoding) in reversed(list(zip(plan[::2], plan[1::2], strict=True))):
            if (encode, decode) != ("encode", "decode") or not decoding.startswith("utf-8"):
                return text
            back = back.encode("utf-8").decode(encoding)
    except (UnicodeError, ValueError):
        return text
    return fixed if back == text else text


def repaired_text(text: str) -> tuple[str, int]:
    """The text with its lines repaired, and how many were."""
    lines = text.split("\n")
    fixed = [repaired_line(line) for line in lines]
    count = sum(one != other for one, other in zip(lines, fixed, strict=True))
    return ("\n".join(fixed), count) if count else (text, 0)


def _repair(texts: pa.Array) -> pa.Array:
    found = [None if text is None else repaired_text(text) for text in texts.to_pylist()]
    return pa.array(
        [f and {"text": f[0], "lines": f[1]} for f in found], pa.struct([("text", pa.string()), ("lines", pa.int64())])
    )


def repaired_and_lines(text: Column) -> tuple[Column, Column]:
    """The text with UTF-8 that was once decoded as something else put right, and the number of lines repaired.

    Only texts with the hint go through Python.
    """
    suspect = ~is_ascii(text) & F.rlike(text, F.lit(hint()))
    repair = F.arrow_udf(_repair, "struct<text: string, lines: bigint>")(F.when(suspect, text))  # type: ignore[call-overload]
    return F.coalesce(repair.getField("text"), text), F.coalesce(repair.getField("lines"), F.lit(0))


def repaired(text: Column) -> Column:
    """The first of :func:`repaired_and_lines`."""
    return repaired_and_lines(text)[0]
