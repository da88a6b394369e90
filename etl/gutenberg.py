"""Remove Project Gutenberg's header and licence from each book in a text. A text that only quotes them is not changed.

A marker line alone is not enough: before a start marker there must be a sentence of Gutenberg's headers, and after an
end marker its licence, the next book's header, or nothing.
"""

import functools

from pyspark.sql import Column
from pyspark.sql import functions as F

WORDS = ("Gutenberg", "GUTENBERG", "SMALL PRINT")
MOST = 40_000  # characters of a header or a licence: the licence has 19,000, the small print of the 1990s 12,000
_LINE = r"(?<![^\n])[ \t]*"  # from a line's beginning
_TAIL = r"[^\n]*(?:(?<![* ])\n[^\n*]{1,100}\*\*\*[^\n]*)?(?:\n|\z)"  # to its end; a long title goes on in the next one
START = rf"{_LINE}(?:\*\*\* ?START OF TH(?:E|IS) PROJECT GUTENBERG|\*END[ *]+THE SMALL PRINT){_TAIL}"
END = rf"{_LINE}(?:\*\*\* ?END OF TH(?:E|IS) PROJECT GUTENBERG|End of (?:the |this )?Project Gutenberg['’ ]){_TAIL}"
HEADERS_SAY = r"(?:for the use of anyone|give it away|Copyright laws are changing|Plain Vanilla|Legal advisor)"
LICENCES_BEGIN = (
    r"[* ]*(?:Updated editions will|(?:This|These) files? should be named|Creating the works|A Word from Project"
    r"|START: FULL LICEN|THE FULL PROJECT|Section 1\.|This and all associated|(?:This is )?The Project Gutenberg)"
)
HEADER = rf"(?is)\A.{{0,{MOST}}}?{HEADERS_SAY}.{{0,{MOST}}}?{START}"
FOOTER = (
    rf"(?is)(?:{END}\s*)+(?:\z|(?={LICENCES_BEGIN})"
    rf"(?:.{{0,{2 * MOST}}}?{START}|.{{0,{MOST}}}\z|.{{0,{MOST}}}?hear about new eBooks\.))"
)


def without_gutenberg(text: Column) -> Column:
    """The text without Project Gutenberg's headers and licences."""
    named = functools.reduce(lambda a, b: a | b, (F.contains(text, F.lit(word)) for word in WORDS))
    return F.when(named, F.regexp_replace(F.regexp_replace(text, HEADER, ""), FOOTER, "\n")).otherwise(text)
