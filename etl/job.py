"""``python -m etl.job RUN_DIR`` or ``spark-submit etl/job.py RUN_DIR``: raw files → Spark → corpus snapshot."""

import logging
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

if not __package__:  # started as a file: this directory came first on the path, where config.py could shadow a package
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etl import (
    card,
    decontaminate,
    examples,
    funnel,
    language,
    layout,
    mixture,
    pairs,
    privacy,
    quality,
    split,
    tally,
    transforms,
)
from etl.config import CorpusConfig
from etl.dedup import duplicates, signatures
from etl.failures import explained
from etl.langid import check_languages
from etl.progress import progress_lines
from etl.read.check import undecodable
from etl.read.decoding import in_another_encoding
from etl.read.documents import files_of, read_all
from etl.read.files import OF_PAGES
from etl.read.raw import publish_sources
from etl.read.source import Source
from etl.session import check_connector, engine_path, spark_session
from etl.spark_conf import shuffle_partitions
from handoff.artifact import Artifact
from handoff.errors import SourceError
from handoff.facts import CorpusFacts, facts_of
from handoff.identity import identity_of
from handoff.job import log, run_stage
from handoff.packages import cache_dir
from handoff.publish import Staging, obtain, versioned
from handoff.run_dir import RunDir, StageRecord
from handoff.schema import CORPUS, PAIRS
from handoff.store import Store

CODE_VERSION = 6  # part of the snapshot's id: raise it when the same input and configuration give other rows


@dataclass(frozen=True)
class SnapshotInputs:
    """What a snapshot is made from, and the store that it is published in."""

    config: CorpusConfig
    store: Store
    parents: list[Artifact]  # raw artifacts of the sources and of the evaluation files
    sources: list[Source]
    evaluation: list[Source]  # files that training passages must not share text with

    @property
    def id_config(self) -> dict[str, Any]:
        """What determines the rows besides the raw bytes: the code, and the settings that are part of an id."""
        return versioned(CODE_VERSION, identity_of(self.config))

    @property
    def raw_bytes(self) -> int:
        return sum(source.total_bytes for source in self.sources)


def run_corpus(run: RunDir, record: StageRecord) -> None:
    """The corpus stage: find or make the snapshot that the run's configuration describes."""
    config, cache = run.section("corpus", CorpusConfig), cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    check_languages(config.language)
    with record.phase("source"):
        raws = publish_sources(run.store, config.sources, cache)
        evaluation = publish_sources(run.store, config.decontamination.sources, cache)
    inputs = SnapshotInputs(
        config=config,
        store=run.store,
        parents=[artifact for artifact, _ in (*raws, *evaluation)],
        sources=[source for _, source in raws],
        evaluation=[source for _, source in evaluation],
    )

    def make(place: Staging) -> Artifact:
        with spark_session(f"baton corpus {run.name}", _log_file(run), cache, inputs.raw_bytes) as spark, explained():
            cores = spark.sparkContext.defaultParallelism
            log.info("spark: %s on %s, %d cores", spark.version, spark.sparkContext.master, cores)
            check_connector(spark, run.store.root)
            spark.conf.set("spark.sql.shuffle.partitions", shuffle_partitions(cores, inputs.raw_bytes))
            return make_snapshot(spark, inputs, place, record)

    snapshot, reused = obtain(run.store, "corpus", CODE_VERSION, identity_of(config), inputs.parents, make)
    if reused and (raw := facts_of(snapshot.manifest, CorpusFacts).raw):
        check_lost(raw.lost_share, config, f"see {snapshot.data}/{card.NAME}")
    _finish(record, snapshot, reused=reused)


def make_snapshot(spark: SparkSession, inputs: SnapshotInputs, place: Staging, record: StageRecord) -> Artifact:
    """Run the pipeline and publish its rows at ``place``.

    Raises:
        SourceError: a file cannot be read; no passage is left.
        ConfigError: a split is empty; a passage exceeds a row group.
    """
    config, store, sources = inputs.config, inputs.store, inputs.sources
    id_config, parents = inputs.id_config, inputs.parents
    dedup = config.dedup.for_pairs() if config.source.paired else config.dedup
    log.info("settings: passages of up to %s characters, seed %d", f"{config.passage_chars:,}", config.seed)
    if cached := signatures.nearest(store, id_config, parents) if dedup.reuses_signatures else None:
        log.info("cached signatures: %s", cached.id)
    with signatures.signature_writer(store, id_config, parents, dedup, inputs.raw_bytes) as write_signatures:
        split.check_pattern(spark, config.split.group_pattern)
        with record.phase("clean and cut"), progress_lines(spark, "read, clean, cut"):
            passages = prepare(spark, sources, config).persist()
            tallied = check_records(passages, sources, config)
        log.info("%s", tally.lost(tallied.raw))
        with record.phase("judge and split"), progress_lines(spark, "de-duplicate, split"):
            clean = assign_and_decontaminate(spark, passages, inputs.evaluation, config)
            known = signatures.read_signatures(spark, cached) if cached else None
            precedence = mixture.by_precedence(clean, config)
            rank = mixture.rank_of(precedence)
            unique = duplicates.mark_duplicates(clean, dedup, known, write_signatures, rank).persist()
            apart = decontaminate.mark_held_out(unique, config.decontamination.words_apart(pairs=config.source.paired))
            marked = mixture.mark_beyond_share(apart, config)
            counted = funnel.count(marked, config.split)
        passages.unpersist()
        for line in funnel.table(counted):
            log.info("%s", line)
        check_outcome(counted, config)
        mixed = mixture.table(marked, config, precedence)
        for source in mixed:
            level = logging.INFO if source["passages"] else logging.WARNING
            log.log(level, "  source %s: %s", source["name"], mixture.told(source))
        with record.phase("examples"):
            changes = examples.changes(spark, sources, config)
            facts = card.facts(counted, tallied, sources, marked, changes, mixed)
        for line in tally.table(facts):
            log.info("%s", line)
        with record.phase("write"), progress_lines(spark, "shuffle, write"):
            write(marked, counted, config, place.uri)
            store.write(f"{place.path}/{card.NAME}", card.card(counted, facts, config))
        unique.unpersist()
        with record.phase("publish"):
            return place.publish(
                schema=PAIRS if config.source.paired else CORPUS,
                rows=counted.rows,
                budget=layout.budget(config.layout),
                dropped=counted.dropped,
                facts=facts,
            )


def prepare(spark: SparkSession, sources: list[Source], config: CorpusConfig) -> DataFrame:
    """Read, clean, cut, identify, judge: one narrow chain, so that raw text is read and cleaned once."""
    documents = transforms.clean(read_all(spark, sources), config.cleaning)
    documents = language.keep_languages(documents, config.language)
    public = tally.with_tally(privacy.redact(documents, config.privacy), config)
    cut = transforms.cut_passages(public, config.passage_chars, whole=config.source.paired)
    passages = transforms.with_row_id(cut)
    return quality.judge(passages, config.quality, pairs=config.source.paired)


def assign_and_decontaminate(
    spark: SparkSession, passages: DataFrame, evaluation: list[Source], config: CorpusConfig
) -> DataFrame:
    """Assign splits, and mark training passages that share text with an evaluation."""
    assigned = split.assign(passages.drop("file", "tally"), config.split, config.seed)
    references = decontaminate.references(spark, evaluation, config.max_lost_share)
    return decontaminate.mark_contaminated(assigned, references, config.decontamination)


def check_records(passages: DataFrame, sources: list[Source], config: CorpusConfig) -> tally.Tally:
    """Compute ``passages`` (they are persisted), and refuse files that are not what the configuration says.

    Returns:
        The counts of all files.

    Raises:
        SourceError: a file or a source is in another encoding; a file of records has not one usable text; more was
            lost than ``max_lost_share``.
    """
    found = tally.per_file(passages, config)
    files, useless, told = files_of(sources), [], []
    of_source = {source.settings.uri: tally.Sums() for source in sources}
    columns = ["file", "records", "useless", "first_unread", "invalid", "non_ascii", "raw_bytes", "lost_bytes"]
    for row in found.select(columns).to_pylist():
        source, number = files[row["file"]]
        file, sums = source.files[number], of_source[source.settings.uri]
        sums.add(row)
        if in_another_encoding(row["invalid"], row["non_ascii"]) or in_another_encoding(sums.invalid, sums.non_ascii):
            raise SourceError(undecodable(file, source.settings))
        first = f", first {row['first_unread']}" if row["first_unread"] else ""
        if row["useless"] == row["records"] and source.format not in OF_PAGES:
            useless.append(f"{file.uri} ({row['records']} records{first})")
        if row["lost_bytes"]:
            told.append((row["lost_bytes"], f"{file.uri} ({row['lost_bytes']:,} bytes{first})"))
    worst = [place for _, place in sorted(told, key=lambda item: -item[0])[:5]]
    for place in worst:
        log.warning("not read: %s", place)
    if useless:
        raise SourceError(
            f"no record has a text in {', '.join(useless[:5])}. Remedy: set corpus.source.text_column, or exclude the file"
        )
    counted = tally.Tally(found, config)
    counted.lost_share = max(sums.lost_share for sums in of_source.values())
    check_lost(counted.lost_share, config, "; ".join(worst))
    return counted


def check_lost(share: float, config: CorpusConfig, where: str) -> None:
    """Refuse to go on without a part of the input.

    Raises:
        SourceError: more of a source than ``max_lost_share`` could not be read.
    """
    if share > config.max_lost_share:
        raise SourceError(
            f"{100 * share:.2g} % of a source's raw bytes could not be read, more than corpus.max_lost_share "
            f"({100 * config.max_lost_share:.2g} %): {where}. Remedy: repair or exclude these files, or raise the limit"
        )


def check_outcome(counted: funnel.Funnel, config: CorpusConfig) -> None:
    """Refuse an outcome nobody can train on, before anything is written.

    Raises:
        SourceError: no passage is left; the message has the counts per reason.
        ConfigError: a split is empty, or a glob names no document.
    """
    if not counted.rows:
        reasons = ", ".join(f"{reason}: {n:,}" for reason, n in counted.dropped.items())
        raise SourceError(
            f"nothing is left of {counted.documents:,} documents ({reasons}). "
            "Remedy: look at the files, or relax the rules in corpus.quality"
        )
    split.check_splits(counted.rows, config.split, counted.globs_hit)


def write(marked: DataFrame, counted: funnel.Funnel, config: CorpusConfig, uri_of: Callable[[str], str]) -> None:
    """Write each split in its planned layout below ``uri_of(split)``, and what was dropped below ``rejects``."""
    kept, paired = marked.where("reason IS NULL"), config.source.paired
    ratio = layout.compression_ratio(layout.sample(kept, config.seed))
    for name, measured in counted.kept.items():
        plan = layout.plan_split(measured, ratio, config.layout)
        rows = kept.where(f"split = '{name}'").select(*CORPUS.names)
        layout.write_split(rows, engine_path(uri_of(name)), plan, config.layout, config.seed, pairs=paired)
    if config.keep_rejects and counted.dropped:
        text = F.replace("text", F.lit(pairs.SEPARATOR), F.lit(pairs.ARROW)) if paired else F.col("text")
        rejects = marked.where("reason IS NOT NULL").select("reason", "value", "doc_id", "position", text.alias("text"))
        rejects.write.json(engine_path(uri_of("rejects")), mode="append", compression="gzip")


def _log_file(run: RunDir) -> str:
    """Spark's own log goes beside the run's records; into the temporary directory where those are not on this disk."""
    return f"{run.uri}/spark.log" if "://" not in run.uri else f"{tempfile.gettempdir()}/baton-{run.name}-spark.log"


def _finish(record: StageRecord, snapshot: Artifact, *, reused: bool) -> None:
    manifest = snapshot.manifest
    for name in split.SPLITS:
        files = [f for f in manifest.files if f.split == name]
        if files:
            size = sum(f.bytes for f in files) / 1e6
            log.info("  %-10s %9s rows  %3d files  %8.1f MB", name, f"{manifest.rows[name]:,}", len(files), size)
    log.info("snapshot: %s", snapshot.directory)
    total = sum(manifest.rows.values())
    record.artifact, record.reused = snapshot.id, reused
    record.headline = (
        f"{facts_of(manifest, CorpusFacts).documents:,} documents → {total:,} passages "
        f"({', '.join(f'{manifest.rows[s]:,} {s}' for s in split.SPLITS if s in manifest.rows)})"
    )
    record.metrics = {"rows": manifest.rows, "dropped": manifest.dropped}


if __name__ == "__main__":
    sys.exit(run_stage("corpus", run_corpus, sys.argv[1:]))
