"""The right output of a stage: made by its oracle, or the digest that the oracle gave once.

``python -m comparison.judge.oracle MEGABYTES …`` writes the digests of made-up documents of these sizes into
``golden.json``, after an intended change of a stage or of the documents.
"""

import json
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from comparison.data import TABLES_VERSION, generated, write_tables
from comparison.digest import digest_of, files
from comparison.form import Rows, Stage
from comparison.registry import stages

GOLDEN = Path(__file__).with_name("golden.json")
MOST_MEGABYTES = 10.0  # plain Python takes some seconds a stage for them


def right_digest(stage: Stage, megabytes: float, tables: Path, seed: int, made_up: bool) -> str | None:
    """The digest of a stage's right output; None where it has no oracle, or the tables are too large for it.

    Args:
        tables: the input. A digest made here is kept beside it.
        made_up: whether the tables are those of :func:`comparison.data.generated`, whose digests ``golden.json`` has.
    """
    if stage.oracle is None:
        return None
    if made_up and (known := golden().get(_key(stage.name, megabytes, seed))):
        return known
    if megabytes > MOST_MEGABYTES:
        return None
    kept = tables / f"_right-{stage.name}.txt"
    if not kept.exists():
        kept.write_text(oracle_digest(stage, tables, seed))
    return kept.read_text()


def has_oracle(stage: Stage, megabytes: float, seed: int, made_up: bool) -> bool:
    """Whether :func:`right_digest` knows the right output of a stage at a size."""
    if stage.oracle is None:
        return False
    return megabytes <= MOST_MEGABYTES or (made_up and _key(stage.name, megabytes, seed) in golden())


def oracle_digest(stage: Stage, tables: Path, seed: int) -> str:
    """The digest of what a stage's oracle makes of these tables."""
    assert stage.oracle
    rows = stage.oracle(_rows(tables / "documents"), _rows(tables / "metadata"), seed)
    with tempfile.TemporaryDirectory() as place:
        pq.write_table(pa.Table.from_pylist(rows), f"{place}/part-0.parquet")
        return str(digest_of(Path(place), stage.compared))


def golden() -> dict[str, str]:
    """Digests by version of the documents, seed, stage and size."""
    return json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}


def _key(stage: str, megabytes: float, seed: int) -> str:
    return f"v{TABLES_VERSION} seed {seed} {stage} {megabytes:g} MB"


def _rows(directory: Path) -> Rows:
    return [row for path in files(directory) for row in pq.read_table(path).to_pylist()]


def main(arguments: list[str]) -> int:
    found = golden()
    for megabytes in map(float, arguments):
        with tempfile.TemporaryDirectory() as place:
            write_tables(generated(megabytes, 0), Path(place), 0)
            for stage in stages():
                if stage.oracle and stage.scales:
                    found[_key(stage.name, megabytes, 0)] = oracle_digest(stage, Path(place), 0)
                    print(_key(stage.name, megabytes, 0), found[_key(stage.name, megabytes, 0)], flush=True)
    GOLDEN.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
