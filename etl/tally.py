"""Counts of what became of every character, byte and record between the raw files and the passages.

Each document carries its counts in one column, ``tally``, while it is read and cleaned. They are added up once, per
file, when the passages are computed.
"""

from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.config import CorpusConfig
from etl.privacy import kinds_of
from etl.read.records import UNREAD
from etl.transforms import REPAIRED, steps
from handoff.facts import Characters, CorpusFacts, Raw

# As :mod:`etl.read.records` counts them.
READ = ("raw_bytes", "invalid", "non_ascii", "markup_chars", "boilerplate_chars", "lost_bytes")
MARKUP, BOILERPLATE = "HTML and Markdown marks, scripts", "navigation, buttons, footers and hidden parts of pages"
PERSONAL = "personal data and secrets, less their placeholders"


def columns_of(config: CorpusConfig) -> list[str]:
    """The counts of a document, in the order in which ``tally`` holds them."""
    cleaning = [f"_step_{number}" for number in range(len(steps(config.cleaning)))]
    made = [f"_made_{kind}" for kind in kinds_of(config.privacy)]
    repaired = [REPAIRED] if config.cleaning.repair_mojibake else []
    return [*READ, "_read", "_unusable", *repaired, *cleaning, "_personal", *made, "_dropped"]


def with_tally(documents: DataFrame, config: CorpusConfig) -> DataFrame:
    """The documents with their counts in one column, ``tally array<long>``."""
    dropped = F.when(F.col("reason").isNotNull(), F.coalesce(F.length("text"), F.lit(0))).otherwise(0)
    names = columns_of(config)
    counts = F.array(*(F.coalesce(F.col(name).cast("long"), F.lit(0)) for name in names))
    return documents.withColumn("_dropped", dropped).withColumn("tally", counts).drop(*names)


def per_file(passages: DataFrame, config: CorpusConfig) -> pa.Table:
    """A row per file: ``file``, numbers of ``records``, ``unread`` and ``useless`` ones, and the sums of its counts.

    ``first_unread`` is the file and place of its first record that could not be read, with what is wrong there.
    """
    reason = F.coalesce(F.col("reason"), F.lit(""))
    sums = [F.coalesce(F.sum(F.col("tally")[i]), F.lit(0)).alias(name) for i, name in enumerate(columns_of(config))]
    place = F.regexp_extract("doc_id", r"(?:byte|character|message) ([\d,]+)", 1)
    offset = F.coalesce(F.try_to_number(F.replace(place, F.lit(",")), F.lit("9" * 18)), F.lit(0))
    unread = reason.isin(*UNREAD) & F.col("tally").isNotNull()
    found = passages.groupBy("file").agg(
        F.count("tally").alias("records"),
        F.count_if(unread).alias("unread"),
        F.min_by("doc_id", F.when(unread, offset)).alias("first_unread"),
        F.count_if(reason.isin(*UNREAD, "no_text")).alias("useless"),
        *sums,
    )
    return found.toArrow().sort_by("file")


@dataclass
class Sums:
    """Of a source's files: bytes that were invalid, beyond ASCII, lost, and all."""

    invalid: int = 0
    non_ascii: int = 0
    raw_bytes: int = 0
    lost_bytes: int = 0

    def add(self, counts: dict[str, Any]) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + counts[field.name])

    @property
    def lost_share(self) -> float:
        return self.lost_bytes / max(self.raw_bytes, 1)


class Tally:
    """The counts of all files, added up."""

    def __init__(self, files: pa.Table, config: CorpusConfig) -> None:
        self._total = {
            name: pc.sum(files[name]).as_py() or 0
            for name in files.column_names
            if name not in ("file", "first_unread")
        }
        self._steps = [name for name, _ in steps(config.cleaning)]
        self._kinds = kinds_of(config.privacy)
        self.lost_share = 0.0  # the greatest of any source
        self.replaced_files = pc.sum(pc.greater(files["invalid"], 0)).as_py() or 0

    @property
    def placeholders(self) -> dict[str, int]:
        """Placeholders that were put in, per kind of personal data, without those that stood in the source."""
        return {kind: self._total[f"_made_{kind}"] for kind in self._kinds}

    @property
    def raw(self) -> Raw:
        """What was read of the files."""
        total = self._total
        return Raw(
            unpacked_bytes=total["raw_bytes"],
            records=total["records"],
            unread_records=total["unread"],
            lost_bytes=total["lost_bytes"],
            lost_share=self.lost_share,
            replaced_bytes=total["invalid"],
            replaced_files=self.replaced_files,
            repaired_lines=total.get(REPAIRED, 0),
        )

    def characters(self, kept_chars: int, dropped_chars: int) -> Characters:
        """What became of the characters, from read to kept.

        Args:
            kept_chars: of the kept passages.
            dropped_chars: of the dropped ones.
        """
        total = self._total
        removed = {MARKUP: total["markup_chars"], BOILERPLATE: total["boilerplate_chars"]}
        removed |= {name: total[f"_step_{number}"] for number, name in enumerate(self._steps)}
        removed[PERSONAL] = total["_personal"]
        read = total["markup_chars"] + total["boilerplate_chars"] + total["_read"]
        dropped_documents = total["_unusable"] + total["_dropped"]
        return Characters(
            read=read,
            removed=removed,
            dropped_documents=dropped_documents,
            dropped_passages=dropped_chars,
            between_passages=read - sum(removed.values()) - dropped_documents - dropped_chars - kept_chars,
            kept=kept_chars,
        )


def lost(raw: Raw) -> str:
    """For people: how many of the raw bytes could not be read."""
    share = 100 * raw.lost_bytes / max(raw.unpacked_bytes, 1)
    return f"  {raw.lost_bytes:,} of {raw.unpacked_bytes:,} raw bytes could not be read: {share:.2g} %"


def table(facts: CorpusFacts) -> list[str]:
    """The same for people: aligned lines, a label, a count, a share of the characters read."""
    chars, raw, text_bytes = facts.characters, facts.raw, facts.text_bytes
    assert chars is not None and raw is not None and text_bytes is not None
    lines = [("characters read", chars.read)]
    lines += [(f"  - {name}", number) for name, number in chars.removed.items() if number]
    later = {
        "documents that were dropped": chars.dropped_documents,
        "passages that were dropped": chars.dropped_passages,
        "white space between passages": chars.between_passages,
    }
    lines += [(f"  - {name}", number) for name, number in later.items() if number]
    lines.append(("characters kept", chars.kept))
    label, width, of = max(len(name) for name, _ in lines), max(len(f"{n:,}") for _, n in lines), max(chars.read, 1)
    shown = [f"  {name:<{label}}  {n:>{width},}  {100 * n / of:5.1f} %" for name, n in lines]
    share = 100 * text_bytes / max(raw.unpacked_bytes, 1)
    shown.append(f"  {text_bytes:,} bytes of text kept of {raw.unpacked_bytes:,} raw bytes: {share:.1f} %")
    if raw.unread_records:
        shown.append(f"  {raw.unread_records:,} of {raw.records:,} records could not be read")
    if raw.repaired_lines:
        shown.append(f"  {raw.repaired_lines:,} lines had UTF-8 that was decoded as something else: repaired by ftfy")
    if raw.replaced_bytes:
        shown.append(
            f"  {raw.replaced_bytes:,} bytes in {raw.replaced_files:,} files were not in their encoding: now U+FFFD"
        )
    return shown
