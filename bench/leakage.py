"""``python -m bench.leakage``: what of the held-out splits stands in train, where documents are parts of each other.

A corpus of books with planted copies goes through the whole stage: with a paragraph more in front, cut out of a book, two
books in one, lines wrapped anew, and short ones cut out of the middle. Leakage is the share of the different runs of 13
words of validation and test that also stand in train, and of test that stand in validation. More than 1 % is an error.
"""

import json
import random
import shutil
import textwrap
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.etl import HOME, texts
from bench.generate import read_lines, shingles
from etl.config import CorpusConfig
from etl.job import run_corpus
from handoff.artifact import open_artifact
from handoff.manifest import now
from handoff.run_dir import RunDir, StageRecord

BOOKS, PARAGRAPHS = 60, 40
RUN_WORDS = 13
MOST = 0.01


def book(lines: list[str], draw: random.Random) -> list[str]:
    """Paragraphs of lines in an order that no other book has."""
    return ["\n".join(draw.choices(lines, k=draw.randrange(3, 12))) for _ in range(PARAGRAPHS)]


def library(lines: list[str], seed: int = 0) -> dict[str, str]:
    """Books and their copies, by name."""
    draw = random.Random(seed)
    books = [book(lines, draw) for _ in range(BOOKS)]
    found = {f"book-{number}": "\n\n".join(paragraphs) for number, paragraphs in enumerate(books)}
    for number, paragraphs in enumerate(books):
        kind, start = number % 5, draw.randrange(PARAGRAPHS // 2)
        if kind == 0:
            copy = "\n\n".join([*book(lines, draw)[:1], *paragraphs])
        elif kind == 1:
            copy = "\n\n".join(paragraphs[start : start + PARAGRAPHS // 3])
        elif kind == 2:
            copy = "\n\n".join([*books[(number + 7) % BOOKS], *paragraphs])
        elif kind == 3:
            copy = "\n\n".join(textwrap.fill(" ".join(p.split()), 55) for p in paragraphs)
        else:
            copy = " ".join("\n".join(paragraphs[start : start + 2]).split()[20:80])
        found[f"{('shifted', 'excerpt', 'merged', 'wrapped', 'short')[kind]}-{number}"] = copy
    return found


def shared(held: list[str], other: list[str]) -> float:
    """The share of the runs of ``held`` that stand in ``other``."""
    runs = set().union(*(shingles(text, RUN_WORDS) for text in held))
    return len(runs & set().union(*(shingles(text, RUN_WORDS) for text in other))) / max(len(runs), 1)


def leakage(directory: Path, **corpus: Any) -> dict[str, float]:
    """The shares of a snapshot of the library, by pair of splits."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    documents = library(read_lines(texts()))
    (directory / "library.jsonl").write_text("\n".join(json.dumps({"id": n, "text": t}) for n, t in documents.items()))
    split = {"validation_fraction": 0.15, "test_fraction": 0.15}
    config = {"source": {"uri": f"{directory}/library.jsonl", "id_column": "id"}, "split": split, **corpus}
    run, record = RunDir(str(directory / "run")), StageRecord(stage="corpus", started=now())
    run.create(str(directory / "artifacts"), {"corpus": CorpusConfig.model_validate(config).model_dump(mode="json")})
    run_corpus(run, record)
    made = open_artifact(run.store, record.artifact or "")
    rows = {s: pa.concat_tables(map(pq.read_table, made.files(s)))["text"].to_pylist() for s in made.manifest.rows}
    print(f"  {made.manifest.rows}, dropped {made.manifest.dropped}")
    pairs = (("validation", "train"), ("test", "train"), ("test", "validation"))
    return {f"{held} in {other}": shared(rows[held], rows[other]) for held, other in pairs}


def main() -> None:
    """Print the shares without the rule and with it.

    Raises:
        SystemExit: with it one is above the bar.
    """
    for name, settings in (("no rule", {"decontamination": {"held_out_words": 0}}), ("default", {})):
        found = leakage(HOME / "leakage", **settings)
        told = ", ".join(f"{pair} {share:.2%}" for pair, share in found.items())
        print(f"runs of {RUN_WORDS} words, copies shifted, excerpted, merged, wrapped ({name}): {told}", flush=True)
    shutil.rmtree(HOME / "leakage")
    if max(found.values()) > MOST:
        raise SystemExit(f"ERROR more than {MOST:.0%} of a held-out split stands in another one")


if __name__ == "__main__":
    main()
