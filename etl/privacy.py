"""Personal data and secrets become typed placeholders, in Spark SQL expressions, before passages are cut.

Patterns find what has a form: addresses, numbers, keys. Names of persons have none and stay.
"""

from typing import TYPE_CHECKING

from etl.config import PrivacyConfig

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

PLACEHOLDERS = {"key": "<KEY>", "email": "<EMAIL>", "card": "<CARD>", "ip": "<IP>", "phone": "<PHONE>"}
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
# Java's syntax; possessive, so that a long run of one kind of character is looked at once from each of its starts.
PATTERNS = {
    # Forms published by their issuers: PEM, AWS, GitHub, Slack, Google, OpenAI and its like, JSON web tokens.
    "key": r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[A-Za-z0-9+/=\s]{0,8000}(?:-----END [A-Z ]{0,20}PRIVATE KEY-----)?"
    r"|\b(?:A[KS]IA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_\w{22,255}|xox[abprs]-[A-Za-z0-9-]{10,250}"
    r"|AIza[\w-]{35}|sk-[\w-]{20,200}|eyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]{10,1000})(?![\w-])",
    "email": r"(?i)(?<![\w.%+-])[a-z0-9][\w.%+-]{0,63}+@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,8}[a-z]{2,24}\b",
    # Digits with one blank or hyphen between them; only what passes Luhn's check is replaced.
    "card": r"(?<![\w.+-])\d(?:[ -]?\d){12,18}+(?![\w-]|\.\d)",
    "ip": rf"(?<![\w.])(?:{_OCTET}\.){{3}}{_OCTET}(?![\w]|\.\d)"
    r"|(?i)(?<![\w:])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![\w:])",
    # With a country code, or as North America writes it: other local forms look like any number.
    "phone": r"(?<![\w+.-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d(?:[ .-]?\d){5,12}"
    r"|(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[.-]\d{4})(?![\w-]|\.\d)",
}
# A text with a match has one of these too. They are found several times as fast, and most texts have none; each begins
# with characters listed one by one, which Java looks up in a table of bits.
KEY_HINT = r"[AJz_-](?<=A[KS]IA|eyJ|AIz|gh[pousr]_|pat_|xox[abprs]-|sk-|----)"
NUMBERS = ("card", "ip", "phone")
NUMBER_HINT = (
    r"[0123456789.:+-](?:(?<=\d)(?:[ -]?\d){12}|(?<=[0-9a-fA-F][.:])[0-9a-fA-F]{1,4}[.:][0-9a-fA-F]"
    r"|(?<=\+)\d|(?<=\d{3}[+.-])\d{4})"
)


def passes_luhn(number: "Column") -> "Column":
    """Whether a string's digits pass the check of ISO/IEC 7812-1 (Luhn 1954)."""
    from pyspark.sql import functions as F

    digits = F.split(F.reverse(F.regexp_replace(number, r"\D", "")), "")
    values = F.transform(
        F.filter(digits, lambda d: d != ""),
        lambda d, i: F.when(i % 2 == 0, d.cast("int")).otherwise(d.cast("int") * 2 - F.when(d >= "5", 9).otherwise(0)),
    )
    return F.aggregate(values, F.lit(0), lambda total, v: total + v) % 10 == 0


def redacted(text: "Column", kind: str) -> "Column":
    """The text with the matches of one kind as its placeholder."""
    from pyspark.sql import functions as F

    pattern = PATTERNS[kind]
    if kind == "card":
        found = F.array_distinct(F.regexp_extract_all(text, F.lit(f"({pattern})"), F.lit(1)))
        cards = F.filter(found, passes_luhn)
        return F.aggregate(cards, text, lambda left, card: F.replace(left, card, F.lit(PLACEHOLDERS["card"])))
    return F.regexp_replace(text, pattern, PLACEHOLDERS[kind])


def redact(documents: "DataFrame", config: PrivacyConfig) -> "DataFrame":
    """Replace the configured kinds in ``text``, in the order of ``PATTERNS``; one column per step, so that none is computed twice."""
    from pyspark.sql import functions as F

    text, hint = F.col("text"), F.col("_hint")
    kinds = [kind for kind in PATTERNS if kind in config.replace]
    hints = {"key": F.rlike(text, F.lit(KEY_HINT)), "email": F.contains(text, F.lit("@"))}
    if first := next((kind for kind in kinds if kind in NUMBERS), None):  # its hint holds for the others too
        hints[first] = F.rlike(text, F.lit(NUMBER_HINT))
    for kind in kinds:
        if kind in hints:
            documents = documents.withColumn("_hint", hints[kind])
        documents = documents.withColumn("text", F.when(hint, redacted(text, kind)).otherwise(text))
    return documents.drop("_hint")
