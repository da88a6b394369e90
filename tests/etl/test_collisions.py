"""What collides is the same whether the driver or shuffles look for it, and costs little in a skewed bucket."""

from typing import Any

import numpy as np
import pytest

from etl.dedup import collisions
from etl.dedup.collisions import Collisions

BANDS = 3


def signed(spark: Any, rows: list[tuple[int, bytes, list[int]]]) -> Any:
    return spark.createDataFrame(rows, "_id long, fingerprint binary, keys array<long>").repartition(3).persist()


def found(
    spark: Any, monkeypatch: pytest.MonkeyPatch, most_here: int, rows: list[tuple[int, bytes, list[int]]]
) -> Collisions:
    monkeypatch.setattr(collisions, "MOST_ON_DRIVER", most_here)
    return collisions.collisions(signed(spark, rows))


def listed(frame: Any) -> list[tuple[int, ...]]:
    return sorted(tuple(row) for row in frame.collect())


def drawn(seed: int, rows: int) -> list[tuple[int, bytes, list[int]]]:
    """Distinct ids, negative ones too; a third of the fingerprints are shared; a tenth of the texts have no key."""
    draw = np.random.default_rng(seed)
    ids = draw.choice(np.arange(-(2**62), 2**62, 2**40), rows, replace=False).tolist()
    prints = draw.integers(0, rows, rows).tolist()
    return [
        (i, f"{p:016d}".encode(), [] if p % 10 == 0 else [b * 1000 + (p * 31 + b) % 40 for b in range(BANDS)])
        for i, p in zip(ids, prints, strict=True)
    ]


@pytest.mark.parametrize("seed", [0, 1])
def test_driver_and_shuffles_find_the_same(spark: Any, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    rows = drawn(seed, 300)
    here, shuffled = (found(spark, monkeypatch, most, rows) for most in (10**6, 0))
    assert here.repeated is None is shuffled.repeated
    assert listed(here.copies) == listed(shuffled.copies) != []
    assert listed(here.pairs) == listed(shuffled.pairs) != []
    copied = {second for _, second in listed(here.copies)}
    assert not copied & {i for pair in listed(here.pairs) for i in pair}, "a copy's band is looked for once"


@pytest.mark.parametrize("most_here", [10**6, 0])
def test_an_id_that_several_rows_have_is_told(spark: Any, monkeypatch: pytest.MonkeyPatch, most_here: int) -> None:
    twice = [(5, b"a" * 16, [1, 2, 3])] * 2 + [(9, b"b" * 16, [4, 5, 6])] * 3
    rows = [*twice, (7, b"a" * 16, [1, 2, 3]), (8, b"c" * 16, [7, 8, 9])]
    told = found(spark, monkeypatch, most_here, rows)
    assert told.repeated is not None and listed(told.repeated) == [(5,), (9,)]


@pytest.mark.parametrize("most_here", [10**6, 0])
@pytest.mark.parametrize("rows", [[], [(1, b"a" * 16, [])], [(1, b"a" * 16, []), (2, b"b" * 16, [1, 2, 3])]])
def test_nothing_collides(
    spark: Any, monkeypatch: pytest.MonkeyPatch, most_here: int, rows: list[tuple[int, bytes, list[int]]]
) -> None:
    told = found(spark, monkeypatch, most_here, rows)
    assert told.repeated is None and not told.copies.count() and not told.pairs.count()


@pytest.mark.parametrize("most_here", [10**6, 0])
def test_pairs_of_a_skewed_bucket_grow_with_its_size_not_its_square(
    spark: Any, monkeypatch: pytest.MonkeyPatch, most_here: int
) -> None:
    rows = [(i, f"{i:016d}".encode(), [1, 2, 1000 + i]) for i in range(400)]
    pairs = listed(found(spark, monkeypatch, most_here, rows).pairs)
    assert pairs == sorted({(0, i) for i in range(1, 400)} | {(i - 1, i) for i in range(1, 400)})
