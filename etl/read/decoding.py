"""Bytes → text: which encoding a file is in, and what becomes of invalid bytes.

Every format has the same policy: each invalid sequence becomes U+FFFD, and its bytes are counted. A file or source with
too many of them is in another encoding, and is refused.
"""

import codecs
import re
import threading
from typing import NamedTuple

from handoff.errors import ConfigError

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# What these names stand for on the web (WHATWG Encoding Standard, section 4.2): files that are said to be Latin-1 have
# the quotation marks, dashes and the euro sign of Windows-1252, which Latin-1 takes for control characters.
WEB_ENCODINGS = {
    "ascii": "cp1252",
    "x-sjis": "cp932",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "utf-8-sig": "utf-8",
}

LEAST_INVALID = 8
LEAST_INVALID_SHARE = 0.1  # of the bytes beyond ASCII


class Counts(NamedTuple):
    """Of decoded bytes: how many, how many invalid, and, if any are, how many beyond ASCII."""

    raw_bytes: int
    invalid: int
    non_ascii: int

    def __add__(self, other: "Counts") -> "Counts":  # type: ignore[override]
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))


NO_COUNTS = Counts(0, 0, 0)


def encoding_named(name: str) -> str:
    """Python's name of the encoding that a setting means.

    Raises:
        ConfigError: there is none.
    """
    try:
        "".encode(name)
        found = codecs.lookup(name).name
    except LookupError:
        raise ConfigError(f"{name!r} is no text encoding. Remedy: correct corpus.source.encoding") from None
    return WEB_ENCODINGS.get(found, found)


def encoding_of(head: bytes, configured: str) -> tuple[str, int]:
    """Encoding of a file that begins with ``head``, and bytes of its byte order mark, which overrides the setting.

    Without a mark the byte order of UTF-16 follows from where its zero bytes are.
    """
    for mark, encoding in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    encoding = encoding_named(configured)
    if encoding in ("utf-16", "utf-32"):
        width = int(encoding[4:]) // 8
        first, last = (head[i::width].count(0) for i in (0, width - 1))
        encoding += "-be" if first > last else "-le"
    return encoding, 0


_CHARSET = re.compile(
    rb"""<meta\b[^>]*?charset\s*=\s*["']?\s*([\w.:-]+)|\A\s*<\?xml\b[^>]*?encoding\s*=\s*["']([\w.:-]+)""",
    re.IGNORECASE,
)
CHARSET_BYTES = 4096  # of a page's beginning; browsers look at 1,024, and some pages have scripts before


def page_encoding(data: bytes, configured: str) -> tuple[str, int]:
    """As :func:`encoding_of`, of a page, which may name its own charset; one that is valid UTF-8 beyond ASCII is UTF-8.

    Crawlers and editors convert pages to UTF-8 and leave what these say of themselves.
    """
    encoding, mark = encoding_of(data, configured)
    if mark or (found := _CHARSET.search(data[:CHARSET_BYTES])) is None:
        return encoding, mark
    try:
        named = encoding_named((found[1] or found[2]).decode())
    except ConfigError:
        return encoding, mark
    if named.startswith(("utf-16", "utf-32")):  # the page was read as far as its charset, byte by byte
        named = "utf-8"
    if named != "utf-8" and non_ascii_bytes(data):
        try:
            codecs.getincrementaldecoder("utf-8")().decode(data)
            return "utf-8", 0
        except UnicodeDecodeError:
            pass
    return named, 0


_counted = threading.local()


def _replaced(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    _counted.bytes = invalid_bytes() + error.end - error.start
    return "\ufffd", error.end


codecs.register_error("baton.replaced", _replaced)


def invalid_bytes() -> int:
    """Invalid bytes that this thread has replaced so far."""
    return getattr(_counted, "bytes", 0)


def decoded(data: bytes, encoding: str) -> str:
    """Decode bytes; invalid ones become U+FFFD, and :func:`invalid_bytes` counts them."""
    return data.decode(encoding, "baton.replaced")


def decoder(encoding: str) -> codecs.IncrementalDecoder:
    """The same for bytes that come in chunks."""
    return codecs.getincrementaldecoder(encoding)("baton.replaced")


def non_ascii_bytes(data: bytes) -> int:
    """Bytes of 128 or more."""
    return len(data) - len(data.translate(None, bytes(range(128, 256))))


def in_another_encoding(invalid: int, non_ascii: int) -> bool:
    """Whether so many bytes are invalid that the encoding is wrong: in a file of damaged UTF-8 most bytes are valid."""
    return invalid >= LEAST_INVALID and invalid >= LEAST_INVALID_SHARE * non_ascii


def counted(data: bytes, invalid_before: int) -> Counts:
    """Counts of bytes that have just been decoded, given the value of :func:`invalid_bytes` before that."""
    invalid = invalid_bytes() - invalid_before
    return Counts(len(data), invalid, non_ascii_bytes(data) if invalid else 0)
