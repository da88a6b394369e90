"""What a run tells MLflow: parameters, metrics with their steps, and the ids of everything it was made from."""

from typing import Any

from handoff.artifact import Artifact

EXPERIMENT = "baton"
MODEL_TAG = "baton.model"  # on runs and on model versions: the artifact that they stand for
SERIES = ("loss", "learning_rate", "grad_norm", "tokens_per_second", "tokens")
TOTALS = ("train_tokens", "blocks", "parameters", "trainable_parameters", "restarts", "seconds")
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
    parents = {parent.id.split("-", 1)[0]: parent.id for parent in model.manifest.parents}
    tags = {MODEL_TAG: model.id, "baton.evaluation": evaluation.id}
    if "corpus" in parents:
        tags["baton.corpus"] = parents["corpus"]
    if "model" in parents:
        tags["baton.base"] = parents["model"]
    return tags


def metrics_of(model: Artifact, evaluation: Artifact) -> list[tuple[str, float, int, int]]:
    """Metrics as (name, value, time in ms since 1970, step).

    Times come from the manifests, not from the clock: logging the same run again writes the same rows.
    """
    facts = model.manifest.facts
    end = int(model.manifest.created.timestamp() * 1000)
    begin = end - int(1000 * facts.get("seconds", 0))
    found = [
        (f"train/{name}", step.get(name), begin + int(1000 * step.get("seconds", 0)), step["step"])
        for step in facts.get("steps", [])
        for name in SERIES
    ]
    found += [(f"train/{name}", facts.get(name), end, 0) for name in TOTALS]
    measured = int(evaluation.manifest.created.timestamp() * 1000)
    for split, values in evaluation.manifest.facts["splits"].items():
        found.append((f"{split}/perplexity_base", values["base"]["perplexity"], measured, 0))
        found.append((f"{split}/perplexity_tuned", values["tuned"]["perplexity"], measured, 0))
        found.append((f"{split}/perplexity_ratio", values["ratio"], measured, 0))
    return [(name, float(value), time, step) for name, value, time, step in found if value is not None]


def log_run(
    client: Any, experiment_id: str, name: str, params: dict[str, str], model: Artifact, evaluation: Artifact
) -> str:
    """Log the run of a model, or complete the one that an interrupted promotion left. Returns its MLflow id."""
    from mlflow.entities import Metric, Param

    begun = client.search_runs([experiment_id], filter_string=f"tags.`{MODEL_TAG}` = '{model.id}'", max_results=1)
    metrics = metrics_of(model, evaluation)
    if begun:
        run_id = str(begun[0].info.run_id)
    else:
        start = min((time for _, _, time, _ in metrics), default=None)
        made = client.create_run(experiment_id, start_time=start, tags=tags_of(model, evaluation), run_name=name)
        run_id = str(made.info.run_id)
    for at in range(0, len(params), PARAMS_PER_REQUEST):
        some = list(params.items())[at : at + PARAMS_PER_REQUEST]
        client.log_batch(run_id, params=[Param(key, value) for key, value in some])
    for at in range(0, len(metrics), METRICS_PER_REQUEST):
        client.log_batch(run_id, metrics=[Metric(*m) for m in metrics[at : at + METRICS_PER_REQUEST]])
    client.set_terminated(run_id, "FINISHED", end_time=max((time for _, _, time, _ in metrics), default=None))
    return run_id
