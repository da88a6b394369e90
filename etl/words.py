"""What counts as a word, for rules and n-grams: text between blanks of any kind; in scripts without blanks, a character."""

from pyspark.sql import Column
from pyspark.sql import functions as F

# By code points, which are the same in every Java: what \\p{IsHan} matches grows with each Unicode.
UNSPACED_SCRIPTS = (
    (0x0E00, 0x0E7F),  # Thai
    (0x0E80, 0x0EFF),  # Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xA9E0, 0xA9FF),  # Burmese
    (0xAA60, 0xAA7F),
    (0xF900, 0xFAFF),  # Han
    (0xFF66, 0xFF9D),  # Katakana
    (0x1B000, 0x1B16F),  # Kana
    (0x20000, 0x3FFFD),  # Han
)
_RANGES = "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in UNSPACED_SCRIPTS)
# The first class is one comparison, and rules out all of Latin, Greek, Cyrillic, Hebrew, Arabic and India's scripts.
UNSPACED = rf"[\x{{e00}}-\x{{3fffd}}](?<=[{_RANGES}])"

# Besides the blank itself: no-break, of fixed width, of East Asia's width, and the sign between words of Ethiopia's scripts.
OTHER_BLANKS = r"[\u00a0\u1361\u1680\u2000-\u200a\u202f\u205f\u3000]"


def is_ascii(text: Column) -> Column:
    """Whether a text is ASCII, at the cost of comparing two lengths. Most patterns need not be tried on such a text."""
    return F.octet_length(text) == F.length(text)


def spaced(text: Column) -> Column:
    """The text with blanks of one kind, and one on either side of each character of a script that writes none.

    The blanks that are put in are two for each such character; no other character goes or comes.
    """
    other, beyond = F.rlike(text, F.lit(OTHER_BLANKS)), ~is_ascii(text)
    blank = F.when(beyond & other, F.regexp_replace(text, OTHER_BLANKS, " ")).otherwise(text)
    unspaced = beyond & F.rlike(text, F.lit(UNSPACED))
    return F.when(unspaced, F.regexp_replace(blank, f"({UNSPACED})", " $1 ")).otherwise(blank)
