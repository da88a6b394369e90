"""n-gram hashes and band keys: equal n-grams have equal hashes, and bands agree as often as the theory says."""

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from etl.dedup import minhash


def hashed(texts: list[str], n: int) -> list[list[int]]:
    """The hashes of every text."""
    found: list[list[int]] = []
    for _, _, data, offsets in minhash.chunks(pa.array(texts, pa.string())):
        hashes, counts = minhash.ngram_hashes(data, offsets, n)
        found += [part.tolist() for part in np.split(hashes, np.cumsum(counts)[:-1])]
    return found


@pytest.mark.parametrize("chunk_bytes", [1, 100, 1 << 18])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_hashes_are_equal_exactly_where_the_n_grams_are(
    monkeypatch: pytest.MonkeyPatch, n: int, chunk_bytes: int
) -> None:
    monkeypatch.setattr(minhash, "CHUNK_BYTES", chunk_bytes)
    draw = random.Random(0)
    texts = [
        " ".join(draw.choices(["a", "b", "ab", "\u00e9t\u00e9", "\u6771"], k=k)) for k in (0, 1, 2, 4, 5, 6, 0, 300, 40)
    ]
    runs = []
    for text in texts:
        words = text.split()
        runs.append([tuple(words[i : i + n]) for i in range(max(len(words) - n + 1, 1))] if words else [])
    found = hashed(texts, n)
    assert [len(f) for f in found] == [len(r) for r in runs]
    pairs = {(run, h) for rs, hs in zip(runs, found, strict=True) for run, h in zip(rs, hs, strict=True)}
    assert len(pairs) == len({run for run, _ in pairs}) == len({h for _, h in pairs})


def test_a_slice_of_an_array_is_hashed_as_itself() -> None:
    texts = ["one two three", "four five", "six seven eight nine"]
    (_, _, data, offsets), *_ = minhash.chunks(pa.array(texts).slice(1, 2))
    hashes, counts = minhash.ngram_hashes(data, offsets, 2)
    assert counts.tolist() == [1, 3] and hashes.tolist() == [h for text in hashed(texts[1:], 2) for h in text]


def test_bands_agree_as_often_as_minhash_promises() -> None:
    """P(one band of r rows agrees) = J ** r: for J = 1/3 and r = 1 and 2, over 60 pairs of sets and 200 bands."""
    draw = np.random.default_rng(1)
    for rows in (1, 2):
        agreed = []
        for _ in range(60):
            a, b, both = (draw.integers(0, 2**64, 200, dtype=np.uint64) for _ in range(3))
            hashes = np.concatenate([a, both, b, both])
            keys = minhash.band_keys(hashes, np.array([400, 400]), 200, rows)
            agreed.append((keys[0] == keys[1]).mean())
        assert np.mean(agreed) == pytest.approx((1 / 3) ** rows, abs=0.02)
        # As many independent permutations as there are: the spread over pairs is the binomial one.
        p = (1 / 3) ** rows
        assert np.std(agreed) == pytest.approx((p * (1 - p) / 200) ** 0.5, rel=0.35)


def test_a_band_says_nothing_of_another_band() -> None:
    keys = minhash.band_keys(np.array([5, 5], np.uint64), np.array([1, 1]), 14, 8)
    assert (keys[0] == keys[1]).all() and len(set(keys[0].tolist())) == 14


def test_map_functions_keep_ids_beside_their_texts() -> None:
    texts = ["a b c d", "", "b c d"]
    raw: Any = pa.record_batch(
        {"id": pa.array([7, 8, 9]), "text": texts, "words": pa.array([None, "", None], pa.string())}
    )
    batch: Any = raw.drop_columns(["text", "words"]).append_column("words", pa.array(texts))
    (signed,) = minhash.signatures_of(3, 2, 1, 1)(iter([raw]))
    assert signed["id"].to_pylist() == [7, 8, 9] and [len(k) for k in signed["keys"].to_pylist()] == [2, 0, 2]
    (longer,) = minhash.signatures_of(3, 2, 1, 2)(iter([raw]))
    assert [len(k) for k in longer["keys"].to_pylist()] == [2, 0, 0] and longer["keys"][0] == signed["keys"][0]
    assert len(set(signed["fingerprint"].to_pylist())) == 3
    (unsigned,) = minhash.signatures_of(3, 0, 1, 1)(iter([raw]))
    assert unsigned["fingerprint"] == signed["fingerprint"] and unsigned["keys"].to_pylist() == [[], [], []]
    (sets,) = minhash.sets_of(3)(iter([batch]))
    ngrams = dict(zip(sets["id"].to_pylist(), map(set, sets["ngrams"].to_pylist()), strict=True))
    assert len(ngrams[7]) == 2 and ngrams[8] == set() and ngrams[9] < ngrams[7]
    known = np.sort(np.array(list(ngrams[9])).view(np.uint64))
    (hits,) = minhash.containing(3, known)(iter([batch]))
    assert hits["id"].to_pylist() == [7, 9]
