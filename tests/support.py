"""Small real data that several test packages publish and read."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from handoff import schema
from handoff.artifact import Artifact
from handoff.facts import CorpusFacts
from handoff.publish import describe_in_place, staging
from handoff.store import Store

VERSES = [
    "Shall I compare thee to a summer's day? Thou art more lovely and more temperate.",
    "Rough winds do shake the darling buds of May, and summer's lease hath all too short a date.",
    "When in disgrace with fortune and men's eyes I all alone beweep my outcast state.",
    "Let me not to the marriage of true minds admit impediments. Love is not love.",
    "Which alters when it alteration finds, or bends with the remover to remove.",
    "My mistress' eyes are nothing like the sun; coral is far more red than her lips' red.",
    "That time of year thou mayst in me behold when yellow leaves, or none, or few, do hang.",
    "Full many a glorious morning have I seen flatter the mountain tops with sovereign eye.",
]


def publish_corpus(store: Store, raw_file: Path, rows: dict[str, int], files: int = 1) -> Artifact:
    """A raw artifact of one file and a corpus artifact of verses below it, with ``rows`` passages per split."""
    raw_file.write_text("\n\n".join(VERSES))
    with staging(store, "raw", {"file": raw_file.name}, []) as place:
        raw = place.publish(in_place=[describe_in_place(str(raw_file))])
    with staging(store, "corpus", {"rows": rows, "files": files}, [raw]) as place:
        for split, count in rows.items():
            numbers = list(range(count))
            for part in range(files):
                mine = numbers[part::files]
                table = pa.table(
                    {
                        "row_id": [f"{split}-{n:05d}" for n in mine],
                        "doc_id": [f"{split}-doc" for _ in mine],
                        "position": pa.array(mine, pa.int32()),
                        "text": [f"{VERSES[n % len(VERSES)]} {split} {n}." for n in mine],
                    },
                    schema=schema.CORPUS,
                )
                pq.write_table(table, f"{place.uri(split)}/part-{part:05d}.parquet")
        return place.publish(
            schema=schema.CORPUS, rows=rows, facts=CorpusFacts(documents=1, passages=sum(rows.values()))
        )


def publish_rows(store: Store, rows: dict[str, list[dict[str, Any]]]) -> Artifact:
    """A corpus artifact of these rows per split."""
    with staging(store, "corpus", {"rows": rows}, []) as place:
        for split, listed in rows.items():
            table = pa.Table.from_pylist(listed, schema=schema.CORPUS)
            pq.write_table(table, f"{place.uri(split)}/part-00000.parquet")
        return place.publish(schema=schema.CORPUS, rows={split: len(listed) for split, listed in rows.items()})


def publish_pairs(store: Store, raw: Artifact, pairs: dict[str, list[tuple[str, str]]], files: int = 1) -> Artifact:
    """A corpus artifact of prompts with completions, per split."""
    with staging(store, "corpus", {"pairs": pairs, "files": files}, [raw]) as place:
        for split, rows in pairs.items():
            for part in range(files):
                mine = range(part, len(rows), files)
                table = pa.table(
                    {
                        "row_id": [f"{split}-{n:05d}" for n in mine],
                        "doc_id": [f"{split}-doc" for _ in mine],
                        "position": pa.array(mine, pa.int32()),
                        "prompt": [rows[n][0] for n in mine],
                        "completion": [rows[n][1] for n in mine],
                    },
                    schema=schema.PAIRS,
                )
                pq.write_table(table, f"{place.uri(split)}/part-{part:05d}.parquet")
        return place.publish(schema=schema.PAIRS, rows={split: len(rows) for split, rows in pairs.items()})
