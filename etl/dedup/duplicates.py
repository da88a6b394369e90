"""De-duplication of passages: exact copies by fingerprint, near ones by MinHash; one passage of each cluster is kept.

Exact copies are equal but for runs of white space. Near ones share their words, in any case and punctuation; a sign is
part of a word, or one by itself. Short texts have exact copies only (``least_ngrams``).

Only ids and keys are shuffled. The keeper of a cluster is the passage of the most held-out split (test, then
validation, then train), among those of the source with the first rank (:mod:`etl.mixture`), among those the smallest
(doc_id, position, row_id): what a model is tested on stays, every near copy of it leaves the training data, and a source
of which training takes only a part takes no text from one that it takes whole.
"""

from collections.abc import Callable

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl.dedup.collisions import collisions
from etl.dedup.components import components
from etl.dedup.config import DedupConfig
from etl.dedup.minhash import SIGNS, sets_of, signatures_of
from etl.words import is_ascii, spaced
from handoff.job import log

EXACT = "exact_duplicate"
NEAR = "near_duplicate"
DUPLICATES = (EXACT, NEAR)
MOST_BROADCAST = 1_000_000  # rows of an id and a verdict; each takes up to 100 bytes on every worker
KEEPER = ("_held", "_rank", "doc_id", "position", "row_id", "_id")  # the first of a cluster in this order is kept


SIGN_CLASSES = r"\p{Sm}\p{Sc}\p{So}" + "".join(rf"\{sign}" for sign in SIGNS)


def normalised(text: Column, signs: str = SIGN_CLASSES) -> Column:
    """The words of a text in lower case with one blank between them; letters, marks, digits and signs of any script count.

    Signs are mathematical ones, currencies, emoji and other symbols, and ASCII's operators; punctuation is none. In
    scripts that write no blanks (:mod:`etl.words`) each character is a word, so that an n-gram is n characters.

    Args:
        text: a text.
        signs: classes of characters for Java's pattern, none for words of letters, marks and digits alone.
    """
    return F.trim(F.regexp_replace(spaced(F.lower(text)), rf"[^\p{{L}}\p{{M}}\p{{N}}{signs}]+", " "))


def words_of(text: Column, signs: str = SIGN_CLASSES) -> Column:
    """``words``, for the functions of :mod:`etl.dedup.minhash`: they fold ASCII by themselves, faster than an expression."""
    return F.when(is_ascii(text), text).otherwise(normalised(text, signs)).alias("words")


def broadcast_if_small(rows: DataFrame, count: int) -> DataFrame:
    """``rows``, marked for a broadcast join where they are few: the texts are not shuffled then."""
    return F.broadcast(rows) if count <= MOST_BROADCAST else rows


def passage_id(row_id: Column) -> Column:
    """A 64-bit hash of a row's id: two passages share one in one of 370,000 corpora of 10 million passages."""
    return F.xxhash64(row_id)


def mark_duplicates(
    passages: DataFrame,
    config: DedupConfig,
    known: DataFrame | None = None,
    write_signatures: Callable[[DataFrame], None] = lambda signed: None,
    rank: Column | None = None,
) -> DataFrame:
    """Set ``reason`` and ``_kept_in`` of every passage but the keeper of each cluster, and ``_cluster`` of the keepers.

    Args:
        passages: ``doc_id, position, text, row_id, reason, split`` and more; rows with a reason are no candidates.
            They are read several times: persist them.
        known: signatures of earlier snapshots, ``row_id, fingerprint, keys``, each row_id once.
        write_signatures: called once with the signatures of all candidates, see :func:`signatures`.
        rank: of a passage's source, as int: of equal texts in one split the one with the smallest is kept.

    Returns:
        The same rows with ``_cluster long``: size of the cluster that this row is kept for, null without a cluster; and
        ``_kept_in int``: rank of the source in which a dropped row's text is kept.
    """
    ranked = F.lit(0) if rank is None else rank
    numbered = passages.withColumns({"_id": passage_id(F.col("row_id")), "_rank": ranked.cast("int")})
    candidates = numbered.where("reason IS NULL")
    signed = signatures(candidates, config, known).persist()
    found = collisions(signed)
    if found.repeated is not None:
        numbered = number_repeated(numbered, found.repeated)
        candidates = numbered.where("reason IS NULL")
        signed.unpersist()
        found.copies.unpersist()
        signed = signatures(candidates, config, known).persist()
        found = collisions(signed)
    write_signatures(signed)
    links = found.copies
    if config.finds_near:
        texts = candidates.select(F.col("_id").alias("id"), words_of(F.col("text")))
        links = links.union(near_links(found.pairs, texts, config))
    roots = components(links)
    if roots.isEmpty():  # nothing is repeated: no verdict to join to the text
        signed.unpersist()
        found.copies.unpersist()
        nothing = {"_cluster": F.lit(None).cast("long"), "_kept_in": F.lit(None).cast("int")}
        return passages.withColumns(nothing)
    members = roots.union(roots.select("root", "root").distinct()).toDF("_id", "_root")
    cluster = Window.partitionBy("_root").orderBy(*KEEPER)
    copies = Window.partitionBy("_root", "fingerprint")
    verdicts = (
        members.join(signed.drop("keys"), "_id")
        .withColumn("_place", F.row_number().over(cluster))
        .withColumn("_winner", F.first("_rank").over(cluster))
        .withColumn("_copy", F.row_number().over(copies.orderBy(*KEEPER)) > 1)
        .withColumn("_cluster", F.count("*").over(Window.partitionBy("_root")))
        .select(
            "_id",
            F.when(F.col("_place") > 1, F.when(F.col("_copy"), EXACT).otherwise(NEAR)).alias("_verdict"),
            F.when(F.col("_place") == 1, F.col("_cluster")).alias("_cluster"),
            F.when(F.col("_place") > 1, F.col("_winner")).alias("_kept_in"),
        )
        .localCheckpoint()
    )
    signed.unpersist()
    found.copies.unpersist()
    return with_verdicts(numbered, broadcast_if_small(verdicts, verdicts.count()))


def with_verdicts(numbered: DataFrame, verdicts: DataFrame) -> DataFrame:
    """Set ``reason``, ``_cluster`` and ``_kept_in`` of passages by ``_id``, from ``_id, _verdict, _cluster, _kept_in``."""
    marked = numbered.join(verdicts, "_id", "left")
    return marked.withColumn("reason", F.coalesce("reason", "_verdict")).drop("_id", "_rank", "_verdict")


def number_repeated(numbered: DataFrame, repeated: DataFrame) -> DataFrame:
    """Give each of several rows with the same ``_id`` one of its own.

    A record that occurs twice with the same document id gives the same row twice. Such rows are equal in every column,
    so it does not matter which of them gets which number.

    Args:
        numbered: passages with ``_id``.
        repeated: the values of ``_id`` that several rows have.
    """
    copy = F.row_number().over(Window.partitionBy("_id").orderBy("_id")) - 1
    same = numbered.join(repeated, "_id", "left_semi").withColumn("_copy", copy)
    own = F.when(F.col("_copy") == 0, F.col("_id")).otherwise(F.xxhash64("_id", "_copy"))
    others = numbered.join(repeated, "_id", "left_anti")
    return others.unionByName(same.withColumn("_id", own).drop("_copy")).persist()


def signatures(candidates: DataFrame, config: DedupConfig, known: DataFrame | None = None) -> DataFrame:
    """One narrow row per passage: ``_id, _held, _rank, doc_id, position, row_id, fingerprint, keys``; reads each text once.

    The texts of passages with a known signature are not read.
    """
    if known is None:
        return _computed(candidates, config)
    narrow = candidates.select("_id", *_keeper_columns())
    new = narrow.join(known.select("row_id"), "row_id", "left_anti").select("_id").localCheckpoint()
    count = new.count()
    log.info("  %s passages have no signature yet", f"{count:,}")
    if count > MOST_BROADCAST:
        return _computed(candidates, config)
    computed = _computed(candidates.join(F.broadcast(new.distinct()), "_id", "left_semi"), config)
    return narrow.join(known, "row_id").select(*computed.columns).union(computed)


def _computed(candidates: DataFrame, config: DedupConfig) -> DataFrame:
    text = F.col("text")
    words = F.when(~is_ascii(text), normalised(text)).alias("words")  # else the text itself, moved once
    columns = candidates.select("_id", *_keeper_columns(), text, words)
    bands = config.bands if config.finds_near else 0
    schema = "_id long, _held int, _rank int, doc_id string, position int, row_id string, fingerprint binary, keys array<long>"
    sign = signatures_of(config.ngram_words, bands, config.rows_per_band, config.least_ngrams)
    return columns.mapInArrow(sign, schema)


def _keeper_columns() -> list[Column]:
    held = F.when(F.col("split") == "test", 0).when(F.col("split") == "validation", 1).otherwise(2)
    return [held.alias("_held"), F.col("_rank"), F.col("doc_id"), F.col("position"), F.col("row_id")]


def near_links(pairs: DataFrame, texts: DataFrame, config: DedupConfig) -> DataFrame:
    """Those of the pairs (``first, second``) whose n-gram sets have a Jaccard similarity of at least ``min_jaccard``.

    The similarity is computed from the n-grams themselves, not estimated. Of ``texts`` (``id long, words string``) only
    those in a pair are read again.
    """
    pairs = pairs.persist()
    count = pairs.count()
    if not count:  # saves the joins below
        return pairs
    touched = pairs.select("first").union(pairs.select("second")).toDF("id").distinct()
    sets = (
        texts.join(broadcast_if_small(touched, 2 * count), "id", "left_semi")
        .mapInArrow(sets_of(config.ngram_words), "id long, ngrams array<long>")
        .persist()
    )
    one, other = (
        sets.select(F.col("id").alias(i), F.col("ngrams").alias(n)) for i, n in (("first", "a"), ("second", "b"))
    )
    shared = F.size(F.array_intersect("a", "b"))
    similar = shared >= config.min_jaccard * (F.size("a") + F.size("b") - shared)
    links = pairs.join(one, "first").join(other, "second").where(similar).select("first", "second").localCheckpoint()
    pairs.unpersist()
    sets.unpersist()
    return links
