"""``python -m evaluation.job RUN_DIR``: the tuned model beside its base and the champion on held-out passages, and the gate."""

import json
import logging
import sys
from collections.abc import Mapping
from typing import Any

from engines.ray import connect, require_room
from evaluation import suites
from evaluation.config import EvaluationConfig
from evaluation.functions import Functions, as_json_lines
from evaluation.functions import identity_of as functions_identity
from evaluation.gate import judge, needs_champion, refuse
from evaluation.measure import measure
from evaluation.passages import Passage, encode, held_out, seen_by
from evaluation.pool import Contender, Encodings
from handoff.artifact import Artifact, open_artifact
from handoff.errors import ConfigError, GateFailed
from handoff.facts import EvaluationFacts, facts_of
from handoff.identity import identity_of
from handoff.job import run_stage
from handoff.publish import Staging, obtain
from handoff.rows import has_pairs, open_corpus
from handoff.run_dir import RunDir, StageRecord
from registry.client import Champion, find_champion, open_registry
from registry.config import PromotionConfig

log = logging.getLogger("baton")

CODE_VERSION = 4  # raise it when the same models and passages give other figures
NO_FUNCTIONS: Functions = {}


def evaluate(run: RunDir, record: StageRecord, functions: Functions = NO_FUNCTIONS) -> None:
    """Body of the evaluate stage.

    Args:
        run: the run's directory.
        record: of this stage.
        functions: metrics of your own, by the name that the gate calls them; see ``examples/own_metric.py``.

    Raises:
        GateFailed: after publishing, where a criterion is not met.
        ConfigError: before anything is measured, where a criterion cannot be judged.
        EngineUnavailable: MLflow cannot be reached, so nobody knows which model this one would replace.
    """
    config = run.section("evaluation", EvaluationConfig)
    with record.phase("open inputs"):
        corpus, tuned = open_corpus(run), run.artifact("train")
        champion = champion_of(run)
        models = contenders(tuned, champion, config)
        own = models["tuned"].tokenizer.definition
        others = {name for name, model in models.items() if model.tokenizer.definition != own}
        refuse(
            config,
            has_base="base" in models,
            other_tokenizer=others,
            functions=functions,
            pairs=has_pairs(corpus),
        )
        suites.check_suites(config)
    parents = [*(model.artifact for model in models.values()), corpus]

    def make(place: Staging) -> Artifact:
        return _evaluated(place, record, config, models, corpus, functions)

    evaluation, record.reused = obtain(
        run.store, "evaluation", CODE_VERSION, identity(config, functions), parents, make
    )
    scores = facts_of(evaluation.manifest, EvaluationFacts)
    decision = judge(scores, config, champion, tuned.id)
    record.artifact, record.metrics = evaluation.id, {"gate": decision.model_dump(), "limits": scores.limits}
    for line in (*table(scores), *map(str, decision.verdicts)):
        log.info("%s", line)
    log.info("evaluation: %s", evaluation.directory)
    record.headline = headline(scores, decision.split)
    if not decision.passed:
        raise GateFailed(
            f"on {decision.split}, {'; '.join(map(str, decision.failed))}; the model is not promoted. Remedy: train longer "
            "or with another learning rate, or change evaluation.gate"
        )


def identity(config: EvaluationConfig, functions: Functions = NO_FUNCTIONS) -> dict[str, Any]:
    """What of the configuration determines the figures; part of the evaluation's id. Limits do not."""
    brought = {"functions": functions_identity(functions, config.functions), "suites": suites.identity_of(config)}
    return {
        "evaluation": identity_of(config),
        **{name: part for name, part in brought.items() if part},
    }


def champion_of(run: RunDir) -> Champion | None:
    """What holds the alias that this run would move; None where nothing does, or where the run promotes nothing.

    Raises:
        EngineUnavailable: MLflow cannot be reached.
    """
    if "promotion" not in run.config:
        return None
    promotion = run.section("promotion", PromotionConfig)
    champion = find_champion(open_registry(), promotion.model_name, promotion.alias)
    told = f"version {champion.version}, {champion.model}" if champion else "none yet"
    log.info("%s @%s: %s", promotion.model_name, promotion.alias, told)
    return champion


def contenders(tuned: Artifact, champion: Champion | None, config: EvaluationConfig) -> dict[str, Contender]:
    """The models that are measured, by role: tuned first, then base and champion where there are any.

    Raises:
        ConfigError: the champion is wanted and cannot be had.
    """
    models = {"tuned": Contender.of(tuned)}
    if base := tuned.manifest.parent("model"):
        models["base"] = Contender.of(open_artifact(tuned.store, base))
    if champion is None or champion.model == tuned.id or not needs_champion(config):
        return models
    remedy = (
        "take the criteria against the champion out of evaluation.gate, or give the alias to a version of this store"
    )
    if champion.model is None:
        raise ConfigError(
            f"the champion, version {champion.version}, was not registered by a promotion of Baton: it names no artifact. "
            f"Remedy: {remedy}"
        )
    if champion.directory and not champion.directory.startswith(tuned.store.uri("")):
        raise ConfigError(
            f"the champion, version {champion.version}, is {champion.directory}, which is not in this run's store "
            f"({tuned.store.root}). Remedy: {remedy}"
        )
    models["champion"] = Contender.of(open_artifact(tuned.store, champion.model))
    return models


def _evaluated(
    place: Staging,
    record: StageRecord,
    config: EvaluationConfig,
    models: Mapping[str, Contender],
    corpus: Artifact,
    functions: Functions,
) -> Artifact:
    """Measure and publish."""
    with record.phase("read passages"):
        champion = models.get("champion")
        seen = seen_by(champion.artifact, corpus, config.splits) if champion else None
        passages: dict[str, list[Passage]] = {}
        left_out: dict[str, dict[str, int]] = {}
        for split in config.splits:
            passages[split], left_out[split] = held_out(corpus, split, models["tuned"].tokenizer, config, seen)
            log.info("%s: first %d of %d passages", split, len(passages[split]), corpus.manifest.rows[split])
            for reason, number in left_out[split].items():
                log.info("%s: %d passages are left out: %s", split, number, reason)
        encoded: Encodings = {
            name: {split: encode(rows, model.tokenizer) for split, rows in passages.items()}
            for name, model in models.items()
        }
        refuse_long(models, encoded)
    with record.phase("connect to Ray"):
        connect()
        require_room(config.actors)
    with record.phase("score"):
        facts, quarantined = measure(models, passages, encoded, config, functions)
    facts = facts.model_copy(
        update={
            "champion": champion.artifact.id if champion else None,
            "left_out": {split: counted for split, counted in left_out.items() if counted},
        }
    )
    with record.phase("publish"):
        place.store.write(f"{place.path}/metrics.json", json.dumps(facts.told(), indent=2).encode())
        if quarantined:
            place.store.write(f"{place.path}/quarantined.jsonl", as_json_lines(quarantined))
        return place.publish(facts=facts)


def refuse_long(models: Mapping[str, Contender], encoded: Encodings) -> None:
    """See that every model takes the passages in its own tokens. Raises ConfigError naming the one that does not."""
    for name, model in models.items():
        longest = max(len(passage.ids) for rows in encoded[name].values() for passage in rows)
        positions = model.positions
        if positions is not None and longest > positions:
            raise ConfigError(
                f"the {name} model {model.artifact.id} has {positions:,} positions, and a passage takes {longest:,} of its "
                "tokens. Remedy: lower evaluation.max_tokens"
            )


def headline(scores: EvaluationFacts, split: str) -> str:
    """One line for people."""
    shown = scores.splits[split]
    if shown.base is None:
        return f"perplexity {shown.tuned.perplexity:.2f} on {split}"
    return f"perplexity {shown.base.perplexity:.2f} → {shown.tuned.perplexity:.2f} on {split} (x {shown.ratio:.3f})"


def table(scores: EvaluationFacts) -> list[str]:
    """The figures for people, a line per split and model, and one per further metric."""
    lines = [f"{'split':12} {'model':9} {'passages':>8} {'tokens':>9} {'perplexity':>11} {'bits/byte':>10}"]
    for split, found in scores.splits.items():
        for name in ("base", "champion", "tuned"):
            if (one := getattr(found, name)) is not None:
                lines.append(
                    f"{split:12} {name:9} {one.passages:8,} {one.tokens:9,} {one.perplexity:11.2f} {one.bits_per_byte:10.4f}"
                )
    for score in scores.scores:
        values = ", ".join(f"{name} {value:.4g}" for name, value in score.values.items())
        left_out = scores.quarantined.get(score.metric, 0)
        lines.append(f"{score.metric}: {values} over {score.rows:,} rows" + f", {left_out:,} left out" * bool(left_out))
    return lines


if __name__ == "__main__":
    sys.exit(run_stage("evaluate", evaluate, sys.argv[1:]))
