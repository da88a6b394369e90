"""From documents to rows: what was kept and what was dropped for which reason, counted in one pass."""

from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.config import SplitConfig
from etl.layout import RowBytes, row_bytes
from etl.pairs import shown
from etl.split import SPLITS, matches

EXAMPLE_CHARS = 300
CLUSTER_SIZES = (2, 3, 5, 10, 100, 1000)  # lower bounds of the histogram of cluster sizes
PASSAGE_BYTES = (0, 250, 500, 1000, 2000, 4000, 8000)  # lower bounds of the histogram of passage sizes


@dataclass(frozen=True)
class Funnel:
    documents: int  # read, usable or not
    passages: int  # cut from the usable ones, before any rule
    dropped: dict[str, int]  # documents and passages per reason, most frequent first
    dropped_documents: int  # of ``dropped``, those that never became passages
    kept: dict[str, RowBytes]  # per split, in the order train, validation, test
    digests: dict[str, str]  # per split, of the set of kept row ids, each of which is a digest of its row
    text_bytes: int  # UTF-8 bytes of the kept passages
    examples: list[dict[str, Any]]  # one dropped passage per reason: reason, doc_id, text, measured value
    clusters: dict[str, int]  # kept passages that stand for duplicates, by bin of their cluster's size
    lengths: dict[str, int]  # kept passages by bin of their bytes
    kept_chars: int
    dropped_chars: int  # of passages
    globs_hit: dict[str, bool]  # per configured glob of document ids: does it match one

    @property
    def rows(self) -> dict[str, int]:
        return {split: measured.rows for split, measured in self.kept.items()}


def count(marked: DataFrame, config: SplitConfig) -> Funnel:
    """Count rows with ``doc_id, position, text, row_id, reason, value, split, _cluster``; reads them once."""
    # Texts are measured before the aggregate: rows are sorted on their way into it, and must not carry texts there.
    text = F.col("text")
    narrow = marked.select(
        *("doc_id", "position", "row_id", "reason", "value", "split", "_cluster"),
        row_bytes().alias("_bytes"),
        F.octet_length(text).alias("_text_bytes"),
        F.length(text).alias("_chars"),
        F.when(F.col("reason").isNotNull(), F.substring(text, 1, EXAMPLE_CHARS)).alias("_shown"),
    )
    globs = [*config.validation_documents, *config.test_documents]
    counts = [
        F.count(F.lit(1)).alias("rows"),
        F.count("position").alias("passages"),
        F.count_if(F.coalesce(F.col("position"), F.lit(0)) == 0).alias("documents"),
        F.sum("_bytes").alias("bytes"),
        F.stddev_pop("_bytes").alias("deviation"),
        F.max("_bytes").alias("largest"),
        F.sum("_text_bytes").alias("text_bytes"),
        F.coalesce(F.sum("_chars"), F.lit(0)).alias("chars"),
        *(F.bit_xor(F.xxhash64("row_id", F.lit(salt))).alias(f"digest_{salt}") for salt in (0, 1)),
        F.min_by(F.struct("doc_id", F.col("_shown").alias("text"), "value"), "row_id").alias("example"),
        *(F.count_if(c).alias(f"cluster_{i}") for i, c in enumerate(_bins(F.col("_cluster"), CLUSTER_SIZES))),
        *(F.count_if(c).alias(f"length_{i}") for i, c in enumerate(_bins(F.col("_text_bytes"), PASSAGE_BYTES))),
        *(F.max(matches(F.col("doc_id"), (glob,))).alias(f"glob_{i}") for i, glob in enumerate(globs)),
    ]
    cells = [row.asDict() for row in narrow.groupBy("reason", "split").agg(*counts).collect()]
    return _funnel(cells, globs)


def _bins(value: Column, bounds: tuple[int, ...]) -> list[Column]:
    """A condition per bin, which begins at its bound and ends before the next one."""
    ends = [*bounds[1:], None]
    return [
        (value >= low) if high is None else (value >= low) & (value < high)
        for low, high in zip(bounds, ends, strict=True)
    ]


def _bin_labels(bounds: tuple[int, ...]) -> list[str]:
    """The bins in words: ``2``, ``3-4``, ``1,000 or more``."""
    pairs = zip(bounds, [*bounds[1:], None], strict=True)
    return [
        f"{low:,} or more" if high is None else f"{low:,}" if high == low + 1 else f"{low:,}-{high - 1:,}"
        for low, high in pairs
    ]


def _funnel(cells: list[dict[str, Any]], globs: list[str]) -> Funnel:
    kept = {c["split"]: c for c in cells if c["reason"] is None}
    dropped: dict[str, int] = {}
    examples: dict[str, Any] = {}
    for cell in sorted((c for c in cells if c["reason"] is not None), key=lambda c: (c["reason"], c["split"])):
        dropped[cell["reason"]] = dropped.get(cell["reason"], 0) + cell["rows"]
        if cell["example"] is not None:
            examples.setdefault(cell["reason"], cell["example"])
    dropped = dict(sorted(dropped.items(), key=lambda item: (-item[1], item[0])))
    return Funnel(
        documents=sum(c["documents"] for c in cells),
        passages=sum(c["passages"] for c in cells),
        dropped=dropped,
        dropped_documents=sum(c["rows"] - c["passages"] for c in cells),
        kept={
            s: RowBytes(kept[s]["rows"], kept[s]["bytes"], kept[s]["deviation"], kept[s]["largest"])
            for s in SPLITS
            if s in kept
        },
        digests={s: "".join(f"{c[f'digest_{i}'] % 2**64:016x}" for i in (0, 1)) for s, c in kept.items()},
        text_bytes=sum(c["text_bytes"] for c in kept.values()),
        examples=[
            {"reason": r, "doc_id": e.doc_id, "text": shown(e.text), "value": e.value}
            for r in dropped
            if (e := examples.get(r))
        ],
        clusters={c: sum(k[f"cluster_{i}"] for k in kept.values()) for i, c in enumerate(_bin_labels(CLUSTER_SIZES))},
        lengths={c: sum(k[f"length_{i}"] for k in kept.values()) for i, c in enumerate(_bin_labels(PASSAGE_BYTES))},
        kept_chars=sum(c["chars"] for c in kept.values()),
        dropped_chars=sum(c["chars"] for c in cells if c["reason"] is not None),
        globs_hit={glob: any(c[f"glob_{i}"] for c in cells) for i, glob in enumerate(globs)},
    )


def table(funnel: Funnel) -> list[str]:
    """The funnel for people: aligned lines, a label, a count, a share of the passages."""
    kept = sum(funnel.rows.values())
    lines = [("documents", funnel.documents, ""), ("passages cut from them", funnel.passages, "")]
    of = max(funnel.passages, 1)
    lines += [(f"  - {reason}", n, f"{100 * n / of:5.1f} %") for reason, n in funnel.dropped.items()]
    lines.append(("passages kept", kept, f"{100 * kept / of:5.1f} %"))
    label_width, count_width = max(len(label) for label, *_ in lines), max(len(f"{n:,}") for _, n, _ in lines)
    return [f"  {label:<{label_width}}  {n:>{count_width},}  {share}".rstrip() for label, n, share in lines]
