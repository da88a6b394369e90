"""Hashes of word n-grams and MinHash band keys of Arrow string batches, in NumPy: no Python loop over words.

In Spark SQL the same work takes an interpreted lambda per hash and word; here a batch is a handful of array
operations per hash. The SQL form was not built, hence not measured: see docs/decisions/near-duplicates.md.
"""

import functools
from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

CHUNK_BYTES = 256 << 10  # of text worked on at a time: its arrays of 8 bytes per byte stay in the cache
BLANK = 32
SIGNS = r"#$%&*+/<=>@\^|~"  # ASCII's symbols and operators, of which words may consist as of letters: C++, 2 * 2
# Of each byte what it becomes: ASCII letters in lower case, digits and signs as they are, other ASCII a blank.
FOLDED = np.arange(256, dtype=np.uint8)
FOLDED[:128] = [ord(chr(b).lower()) if chr(b).isalnum() or chr(b) in SIGNS else BLANK for b in range(128)]
LETTERS = FOLDED.copy()  # the same without signs
LETTERS[[ord(sign) for sign in SIGNS]] = BLANK
SPACED = np.arange(256, dtype=np.uint8)  # ASCII's white space a blank, all else as it is
SPACED[[ord(space) for space in "\t\n\v\f\r"]] = BLANK
_SEED = 0x5EED


@functools.cache
def _byte_codes() -> np.ndarray[Any, Any]:
    return np.random.Generator(np.random.PCG64(_SEED)).integers(1, 2**64, 256, dtype=np.uint64)


@functools.lru_cache(maxsize=2)
def _powers(length: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Powers 0 … length-1 of an odd base modulo 2**64, and those of its inverse."""
    base = 0x9E3779B97F4A7C15
    both = []
    for factor in (base, pow(base, -1, 1 << 64)):
        powers = np.full(length, factor, np.uint64)
        powers[:1] = 1
        both.append(np.multiply.accumulate(powers))
    return both[0], both[1]


def _mixed(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Finaliser of SplitMix64 (Steele, Lea, Flood 2014): every bit of the result depends on every bit given."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def ngram_hashes(
    data: np.ndarray[Any, Any], offsets: np.ndarray[Any, Any], n: int, *, short: bool = True
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Hash of every run of ``n`` words of every text.

    An n-gram's hash is the polynomial hash of its bytes, blanks included, as a difference of two prefix sums
    (Karp and Rabin 1987, modulo 2**64), mixed. A text of fewer than ``n`` words has one n-gram, all of its words; none if
    ``short`` is not wanted.

    Args:
        data: uint8, the UTF-8 bytes of texts whose words have one blank between them.
        offsets: int64, rows + 1 ascending offsets into ``data``.
        n: words in an n-gram, at least 1.

    Returns:
        uint64 hashes in the order of the texts, and int64 number of hashes per text (0 for a text without a word).
    """
    first, last = int(offsets[0]), int(offsets[-1])
    chunk, bounds = data[first:last], offsets - first
    size = max(len(chunk), 1)
    powers, inverses = _powers(1 << (size - 1).bit_length())
    sums = np.zeros(len(chunk) + 1, np.uint64)
    np.cumsum(_byte_codes()[chunk] * powers[: len(chunk)], out=sums[1:])
    letter = np.zeros(len(chunk) + 1, bool)
    letter[:-1] = chunk != BLANK
    edge = np.zeros(len(chunk) + 1, bool)
    edge[bounds] = True
    before = np.empty_like(letter)
    before[0], before[1:] = False, letter[:-1]
    starts = np.flatnonzero(letter & (~before | edge))
    ends = np.flatnonzero(before & (~letter | edge))
    words = np.diff(np.searchsorted(starts, bounds))
    counts = np.where(words > 0, np.maximum(words - n + 1, int(short)), 0)
    first_word = np.concatenate(([0], np.cumsum(words)[:-1]))
    first_hash = np.concatenate(([0], np.cumsum(counts)[:-1]))
    begin = np.arange(counts.sum()) + np.repeat(first_word - first_hash, counts)
    end = begin + np.repeat(np.minimum(words, n), counts) - 1
    at = starts[begin]
    return _mixed((sums[ends[end]] - sums[at]) * inverses[at]), counts


def bytes_of(texts: pa.Array) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The UTF-8 bytes of a string array (uint8), and the offsets of its rows in them (int64, rows + 1)."""
    texts = texts.cast(pa.large_string()) if texts.type != pa.large_string() else texts
    _, offset_buffer, data_buffer = texts.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.empty(0, np.uint8), offsets


def chunks(
    texts: pa.Array, table: np.ndarray[Any, Any] = FOLDED
) -> Iterator[tuple[int, int, np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Cut a string array into runs of rows of about CHUNK_BYTES, and fold their texts.

    Args:
        texts: strings.
        table: what each byte becomes, FOLDED or LETTERS.

    Yields:
        First row, end row, the bytes of the words of these texts with one blank between them, and the texts' offsets.
    """
    data, offsets = bytes_of(texts)
    row = 0
    while row < len(texts):
        end = max(row + 1, int(np.searchsorted(offsets, offsets[row] + CHUNK_BYTES, "right")) - 1)
        end = min(end, len(texts))
        yield row, end, *folded(data[offsets[row] : offsets[end]], offsets[row : end + 1] - offsets[row], table)
        row = end


def folded(
    data: np.ndarray[Any, Any], offsets: np.ndarray[Any, Any], table: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Texts with each byte replaced as the table says, and then without blanks but one between words.

    For ASCII and FOLDED it gives what :func:`etl.dedup.duplicates.normalised` gives, at a fifth of the cost.

    Args:
        data: uint8, UTF-8 bytes of texts.
        offsets: int64, rows + 1 ascending offsets into ``data`` from 0 to its end.
        table: uint8, what each byte becomes; those above 127 stay.
    """
    lower = table[data]
    letter = lower != BLANK
    keep = letter.copy()  # and of each run of blanks within a text the last one, which is before a word
    keep[:-1] |= letter[1:]
    ends = offsets[1:][offsets[1:] > offsets[:-1]] - 1
    keep[ends] = letter[ends]
    kept = np.concatenate(([0], np.cumsum(keep)))
    data, offsets = lower[keep], kept[offsets]
    begins = offsets[:-1][offsets[1:] > offsets[:-1]]
    leading = begins[data[begins] == BLANK]
    if not len(leading):
        return data, offsets
    return np.delete(data, leading), offsets - np.searchsorted(leading, offsets)


def band_keys(hashes: np.ndarray[Any, Any], counts: np.ndarray[Any, Any], bands: int, rows: int) -> Any:
    """MinHash (Broder 1997) in ``bands`` bands of ``rows`` minima, each band as one key (Leskovec et al., ch. 3.4).

    The permutations are ``a * h + b`` modulo 2**32 of the mixed n-gram hashes, ``a`` odd: a bijection each.

    Args:
        hashes: uint64 as from :func:`ngram_hashes`.
        counts: hashes per text, each at least 1.

    Returns:
        int64 array of shape (texts, bands); equal keys in one column mean equal minima in that band.
    """
    total = bands * rows
    draw = np.random.Generator(np.random.PCG64([_SEED, total]))
    factors = draw.integers(0, 2**32, total, dtype=np.uint32) | np.uint32(1)
    terms = draw.integers(0, 2**32, total, dtype=np.uint32)
    weights = draw.integers(0, 2**64, total, dtype=np.uint64) | np.uint64(1)
    short = (hashes >> np.uint64(32)).astype(np.uint32)
    begins = np.concatenate(([0], np.cumsum(counts)[:-1]))
    keys = np.zeros((bands, len(counts)), np.uint64)
    permuted = np.empty_like(short)
    for k in range(total):
        np.multiply(short, factors[k], out=permuted)
        np.add(permuted, terms[k], out=permuted)
        minima = np.minimum.reduceat(permuted, begins)
        keys[k // rows] += _mixed(minima.astype(np.uint64) + weights[k]) * weights[k]
    keys += np.arange(1, bands + 1, dtype=np.uint64)[:, None]
    return _mixed(keys).view(np.int64).T


def runs(*columns: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Where runs of equal rows begin: whether each row differs from the one before it in any column."""
    new = np.ones(len(columns[0]), bool)
    new[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return new


def signatures_of(
    n: int, bands: int, rows: int, least: int
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """For ``mapInArrow``: replace the last columns, ``text`` and ``words``, by ``fingerprint`` and ``keys``.

    ``fingerprint binary`` is BLAKE2b-128 of the text with one blank for each run of ASCII white space and none at its
    ends; ``keys array<long>`` has ``bands`` values of the words, none for a text of fewer than ``least`` n-grams. Where
    ``words`` is null they are the text. Both are made in one pass: moving the text costs more than either.
    """

    def map_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            *kept, texts, words = batch.columns
            names = [*batch.schema.names[:-2], "fingerprint", "keys"]
            raw, bounds = bytes_of(texts)
            for row, end, data, offsets in chunks(pc.coalesce(words, texts)):
                first = bounds[row]
                exact, ends = folded(raw[first : bounds[end]], bounds[row : end + 1] - first, SPACED)
                view = exact.data
                prints = [blake2b(view[i:j], digest_size=16).digest() for i, j in pairwise(ends.tolist())]
                some, keys = np.zeros(end - row, bool), np.empty(0, np.int64)
                if bands:
                    hashes, counts = ngram_hashes(data, offsets, n)
                    some = counts >= least
                    hashes = hashes if some.all() else hashes[np.repeat(some, counts)]
                    keys = band_keys(hashes, counts[some], bands, rows).reshape(-1) if some.any() else keys
                lists = np.concatenate(([0], np.cumsum(some * bands))).astype(np.int32)
                columns = [pa.array(prints, pa.binary()), pa.ListArray.from_arrays(pa.array(lists), pa.array(keys))]
                yield pa.RecordBatch.from_arrays([*(c.slice(row, end - row) for c in kept), *columns], names)

    return map_batches


def sets_of(
    n: int, table: np.ndarray[Any, Any] = FOLDED, *, short: bool = True
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """For ``mapInArrow``: batches of ``id long, words string`` to ``id long, ngrams array<long>``, distinct."""

    def map_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            ids = batch.column("id").to_numpy()
            for row, end, data, offsets in chunks(batch.column("words"), table):
                hashes, counts = ngram_hashes(data, offsets, n, short=short)
                owners = np.repeat(np.arange(end - row), counts)
                order = np.lexsort((hashes, owners))
                hashes, owners = hashes[order], owners[order]
                new = runs(hashes, owners)
                sizes = np.bincount(owners[new], minlength=end - row)
                bounds = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
                lists = pa.ListArray.from_arrays(pa.array(bounds), pa.array(hashes[new].view(np.int64)))
                yield pa.RecordBatch.from_arrays([pa.array(ids[row:end]), lists], ["id", "ngrams"])

    return map_batches


def containing(n: int, known: np.ndarray[Any, Any]) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """For ``mapInArrow``: batches of ``id long, words string`` to the ``id`` of texts with an n-gram in ``known``.

    Words consist of letters, marks and digits: signs may be marks of Markdown.

    Args:
        known: sorted uint64 hashes as from :func:`ngram_hashes`, at least one.
    """

    def map_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        shift = np.uint64(64 - max(16, (4 * len(known)).bit_length()))
        seen = np.zeros(1 << (64 - int(shift)), bool)  # of the first bits of each: spares most n-grams the search
        seen[known >> shift] = True
        for batch in batches:
            ids = batch.column("id").to_numpy()
            for row, end, data, offsets in chunks(batch.column("words"), LETTERS):
                hashes, counts = ngram_hashes(data, offsets, n)
                maybe = np.flatnonzero(seen[hashes >> shift])
                place = np.minimum(np.searchsorted(known, hashes[maybe]), len(known) - 1)
                owners = np.repeat(np.arange(end - row), counts)[maybe]
                hit = np.unique(owners[known[place] == hashes[maybe]])
                yield pa.RecordBatch.from_arrays([pa.array(ids[row:end][hit])], ["id"])

    return map_batches
