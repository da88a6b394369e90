"""What a run tells MLflow: parameters, metrics with their steps, and the ids of everything it was made from."""

from typing import Any

from handoff.artifact import Artifact
from handoff.facts import EvaluationFacts, ModelFacts, facts_of
from handoff.gate import Gate

EXPERIMENT = "baton"
MODEL_TAG = "baton.model"  # on runs and on model versions: the artifact that they stand for
SERIES = (
    "loss", "validation_loss", "learning_rate", "grad_norm", "tokens_per_second", "tokens", "data_wait_share",
    "memory_bytes", "mfu",
)  # fmt: skip
TOTALS = (
    "train_tokens", "blocks", "parameters", "trainable_parameters", "restarts", "seconds", "core_seconds",
    "gpu_seconds", "real_token_share", "data_wait_share",
)  # fmt: skip
# MLflow's limits for one request, https://mlflow.org/docs/latest/api_reference/rest-api.html#request-limits
METRICS_PER_REQUEST = 1000
PARAMS_PER_REQUEST = 100


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested configuration as ``section.field`` → text."""
    params: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            params |= flat(value, f"{prefix}{name}.")
        else:
            params[f"{prefix}{name}"] = str(value)
    return params


def tags_of(model: Artifact, evaluation: Artifact) -> dict[str, str]:
    """Manifest ids of the model, its evaluation and its parents."""
    parents = {"baton.corpus": model.manifest.parent("corpus"), "baton.base": model.manifest.parent("model")}
    known = {tag: identity for tag, identity in parents.items() if identity}
    return {MODEL_TAG: model.id, "baton.evaluation": evaluation.id, **known}


def step_metrics(entry: dict[str, Any], otherwise_ms: int = 0) -> list[tuple[str, float, int, int]]:
    """Metrics of one optimizer step as (name, value, time in ms since 1970, step): the same rows whoever logs them."""
    time = int(entry.get("time_ms", otherwise_ms))
    found = [(f"train/{name}", entry.get(name), time, entry["step"]) for name in SERIES]
    return [(name, float(value), time, step) for name, value, time, step in found if value is not None]


def metrics_of(model: Artifact, evaluation: Artifact, gate: Gate) -> list[tuple[str, float, int, int]]:
    """Metrics as :func:`step_metrics`, totals and perplexities besides.

    Times come from the manifests, not from the clock: logging the same run again writes the same rows.
    """
    facts = facts_of(model.manifest, ModelFacts)
    end = int(model.manifest.created.timestamp() * 1000)
    begin = end - int(1000 * (facts.seconds or 0))
    metrics = [
        row for step in facts.steps for row in step_metrics(step.told(), begin + int(1000 * (step.seconds or 0)))
    ]
    found = [(f"train/{name}", getattr(facts, name), end, 0) for name in TOTALS]
    measured = int(evaluation.manifest.created.timestamp() * 1000)
    judged = facts_of(evaluation.manifest, EvaluationFacts)
    for split, values in judged.splits.items():
        for name in ("base", "tuned", "champion"):
            if (one := getattr(values, name)) is not None:
                found.append((f"{split}/perplexity_{name}", one.perplexity, measured, 0))
                found.append((f"{split}/bits_per_byte_{name}", one.bits_per_byte, measured, 0))
        found.append((f"{split}/perplexity_ratio", values.ratio, measured, 0))
    for score in judged.scores:
        found += [(f"{_key(score.metric)}_{name}", value, measured, 0) for name, value in score.values.items()]
    for verdict in gate.verdicts:
        prefix = f"gate/{_key(verdict.metric)}_against_{verdict.against}"
        for part in ("value", "reference", "change", "low", "high", "limit", "passed"):
            found.append((f"{prefix}/{part}", getattr(verdict, part), measured, 0))
    return metrics + [(name, float(value), time, step) for name, value, time, step in found if value is not None]


def gate_table(gate: Gate) -> str:
    """The gate's criteria as a table in Markdown."""
    lines = [f"Gate, on {gate.split}:", "", "| criterion | value | against | change, 95 % | limit | verdict |"]
    lines.append("|---|---|---|---|---|---|")
    for v in gate.verdicts:
        against = v.against if v.reference is None else f"{v.against} {v.reference:.4g}"
        change = "" if v.change is None else f"{v.change:.3f} [{v.low:.3f}, {v.high:.3f}]"
        verdict = f"{'passed' if v.passed else 'FAILED'}: {v.why}"
        lines.append(f"| {v.metric} | {v.value:.4g} | {against} | {change} | {v.limit:g} | {verdict} |")
    return "\n".join(lines)


def _key(metric: str) -> str:
    """A metric's name as MLflow takes it on every file system."""
    return metric.replace(":", "/")


def log_run(
    client: Any,
    experiment_id: str,
    name: str,
    params: dict[str, str],
    model: Artifact,
    evaluation: Artifact,
    gate: Gate,
) -> str:
    """Log the run of a model, or complete the one that its training or an interrupted promotion began.

    Returns:
        Its MLflow id.
    """
    metrics = metrics_of(model, evaluation, gate)
    start = min((time for _, _, time, _ in metrics), default=None)
    run_id = begin_run(client, experiment_id, name, model.id, params, start)
    for tag, value in tags_of(model, evaluation).items():
        client.set_tag(run_id, tag, value)
    log_metrics(client, run_id, metrics)
    client.set_terminated(run_id, "FINISHED", end_time=max((time for _, _, time, _ in metrics), default=None))
    return run_id


def begin_run(
    client: Any, experiment_id: str, name: str, model_id: str, params: dict[str, str], start_ms: int | None
) -> str:
    """The MLflow run that stands for a model, made where there is none, with its parameters. Returns its id."""
    from mlflow.entities import Param

    begun = client.search_runs([experiment_id], filter_string=f"tags.`{MODEL_TAG}` = '{model_id}'", max_results=1)
    if begun:
        run_id = str(begun[0].info.run_id)
    else:
        made = client.create_run(experiment_id, start_time=start_ms, tags={MODEL_TAG: model_id}, run_name=name)
        run_id = str(made.info.run_id)
    for at in range(0, len(params), PARAMS_PER_REQUEST):
        some = list(params.items())[at : at + PARAMS_PER_REQUEST]
        client.log_batch(run_id, params=[Param(key, value) for key, value in some])
    return run_id


def log_metrics(client: Any, run_id: str, metrics: list[tuple[str, float, int, int]]) -> None:
    """Log metrics; rows that are there already stay as they are."""
    from mlflow.entities import Metric

    for at in range(0, len(metrics), METRICS_PER_REQUEST):
        client.log_batch(run_id, metrics=[Metric(*m) for m in metrics[at : at + METRICS_PER_REQUEST]])
