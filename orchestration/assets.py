"""The DAGs' two assets: corpus snapshot and promoted model, whose events carry facts from the manifests."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

from orchestration.task_context import run_of

if TYPE_CHECKING:
    from airflow.sdk import Context

CORPUS_SNAPSHOT = Asset("corpus_snapshot", group="baton")
PROMOTED_MODEL = Asset("promoted_model", group="baton")


def describe_snapshot(context: "Context", result: Any = None) -> None:
    """A task's ``post_execute``: the event of the snapshot says which, where, and how many rows."""
    from handoff.facts import CorpusFacts, facts_of

    artifact = run_of(context).artifact("corpus")
    manifest = artifact.manifest
    context["outlet_events"][CORPUS_SNAPSHOT].extra = {
        **_facts(context, artifact),
        "rows": dict(manifest.rows),
        "dropped": dict(manifest.dropped),
        "documents": facts_of(manifest, CorpusFacts).documents,
    }


def describe_model(context: "Context", result: Any = None) -> None:
    """A task's ``post_execute``: the event of the promoted model says which version of what, made from what."""
    from handoff.facts import EvaluationFacts, ModelFacts, facts_of
    from handoff.gate import gate_of

    run = run_of(context)
    artifact, gate = run.artifact("train"), gate_of(run.record("evaluate"))
    plan, promoted = run.record("plan"), run.record("promote")
    assert plan and promoted and gate
    evaluated = facts_of(run.artifact("evaluate").manifest, EvaluationFacts)
    context["outlet_events"][PROMOTED_MODEL].extra = {
        **_facts(context, artifact),
        **{name: promoted.metrics[name] for name in ("model", "version", "alias", "tracking_uri")},
        "corpus": artifact.manifest.parent("corpus"),
        "base": artifact.manifest.parent("model"),
        "train_tokens": facts_of(artifact.manifest, ModelFacts).train_tokens,
        "perplexity_ratio": evaluated.splits[gate.split].ratio,
        "gate": [verdict.model_dump() for verdict in gate.verdicts],
        "stamp": plan.metrics.get("stamp"),
    }


def _facts(context: "Context", artifact: Any) -> dict[str, Any]:
    return {
        "id": artifact.id,
        "digest": artifact.manifest.digest,
        "directory": artifact.directory,
        "files": len(artifact.manifest.files),
        "bytes": artifact.manifest.total_bytes,
        "run_dir": run_of(context).uri,
    }


def newest_extras(events: Any) -> list[Mapping[str, Any]]:
    """Extras of the newest twenty events of an inlet asset, newest first."""
    return [event.extra for event in events.ascending(False).limit(20)]
