"""A corpus with known near-duplicates: real lines in new orders, planted copies at known edit rates, PII and junk.

Bulk documents are lines of Shakespeare drawn at random. Words, punctuation and line lengths are those of real text, yet
two documents hardly share a 5-gram. Each planted pair is recorded with its true Jaccard similarity of word 5-grams, so
recall and precision are exact.
"""

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SHARD_BYTES = 12_500_000
EDIT_RATES = (0.0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2)  # of words, replaced by other words
PLANTED_SHARE = 0.12  # of documents are an edited copy of an earlier one
HOT_SHARE = 0.01  # of documents are copies of one passage, lightly edited: the skewed bucket
JUNK_SHARE = 0.01
PII_SHARE = 0.02
NGRAM = 5
JUNK = ("0101 #### 2233 %%%% ", "click here click here click here\n", "$ ^ & * ( ) 99 88 77 ", "aaaa ")
PII = (
    "Write to {w}.{n}@example.com for more.",
    "Call +1 212-555-0{n:03d} today.",
    "The server is at 10.{n}.3.4 tonight.",
    "Card 4111 1111 1111 1111 was used.",
    "Key AKIAIOSFODNN7EXAMPLE was lost.",
)


@dataclass(frozen=True)
class Planted:
    """A planted pair and its true Jaccard similarity of word 5-grams."""

    first: str
    second: str
    jaccard: float
    edit_rate: float


def words(text: str) -> list[str]:
    """Lower-case words of letters, marks and digits; those of etl.dedup have signs too, of which these texts have few."""
    return re.sub(r"[\W_]+", " ", text.lower()).split()


def shingles(text: str, n: int = NGRAM) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[i : i + n]) for i in range(len(found) - n + 1)}


def jaccard(first: str, second: str) -> float:
    a, b = shingles(first), shingles(second)
    return len(a & b) / max(len(a | b), 1)


def edited(text: str, rate: float, vocabulary: list[str], draw: random.Random) -> str:
    """The text with about ``rate`` of its words replaced; at least one if the rate is above 0."""
    parts = re.split(r"(\s+)", text)
    places = [i for i in range(0, len(parts), 2) if parts[i]]
    changed = [i for i in places if draw.random() < rate] or ([draw.choice(places)] if rate else [])
    for i in changed:
        parts[i] = draw.choice(vocabulary)
    return "".join(parts)


def read_lines(directory: Path) -> list[str]:
    """Distinct lines of more than 20 characters of all texts below a directory, in a fixed order."""
    lines: dict[str, None] = {}
    for file in sorted(directory.rglob("*.txt")):
        for line in file.read_text(encoding="iso-8859-1").splitlines():
            if len(line.strip()) > 20:
                lines.setdefault(line.strip())
    return list(lines)


def shard(number: int, size: int, lines: list[str], seed: int) -> Iterator[tuple[dict[str, str], Planted | None]]:
    """Documents of one shard, about ``size`` bytes; the same for the same arguments."""
    draw = random.Random(f"{seed}-{number}")
    vocabulary = sorted({w for line in lines[:20_000] for w in line.split()})
    hot = "\n".join(random.Random(seed).sample(lines, 30))
    originals: list[tuple[str, str]] = []
    written = index = 0
    while written < size:
        name, index = f"{number:04d}-{index:06d}", index + 1
        kind, planted = draw.random(), None
        if kind < PLANTED_SHARE and originals:
            first, source = draw.choice(originals)
            rate = draw.choice(EDIT_RATES)
            text = edited(source, rate, vocabulary, draw)
            planted = Planted(first, name, jaccard(source, text), rate)
        elif kind < PLANTED_SHARE + HOT_SHARE:
            text = edited(hot, draw.choice((0.0, 0.002)), vocabulary, draw)
        elif kind < PLANTED_SHARE + HOT_SHARE + JUNK_SHARE:
            text = draw.choice(JUNK) * draw.randrange(20, 80)
        else:
            text = "\n".join(draw.choices(lines, k=draw.randrange(15, 60)))
            if draw.random() < PII_SHARE:
                text += "\n" + draw.choice(PII).format(
                    w=draw.choice(vocabulary).strip(".,;:!?'"), n=draw.randrange(256)
                )
            if len(originals) < 20_000:
                originals.append((name, text))
        written += len(text.encode()) + 30
        yield {"id": name, "text": text}, planted


def generate(target: Path, size: int, texts: Path, seed: int = 0) -> None:
    """Write ``size`` bytes as ``target/docs/*.jsonl`` and the planted pairs as ``target/truth.jsonl``; once only."""
    if (target / "done").exists():
        return
    lines = read_lines(texts)
    (target / "docs").mkdir(parents=True, exist_ok=True)
    with (target / "truth.jsonl").open("w") as truth:
        for number in range(max(1, round(size / SHARD_BYTES))):
            with (target / "docs" / f"{number:04d}.jsonl").open("w") as out:
                for document, planted in shard(number, min(size, SHARD_BYTES), lines, seed):
                    out.write(json.dumps(document, ensure_ascii=False) + "\n")
                    if planted:
                        truth.write(json.dumps(vars(planted)) + "\n")
    (target / "done").touch()
