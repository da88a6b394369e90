"""The first stage: validate what was asked for, look before leaping, and write the run's directory."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import yaml

from handoff.errors import ConfigError
from handoff.facts import ModelFacts, facts_of
from handoff.manifest import now
from handoff.model_files import settings_of
from handoff.packages import cache_dir
from handoff.run_dir import RunDir, StageRecord
from handoff.stages import Flow, flow
from orchestration import preflight
from orchestration.chosen_model import find_model
from orchestration.form_fields import COMPARISON, INFERENCE, TRAINING
from orchestration.forms import Form
from orchestration.paths import run_key, run_uri, storage_root
from orchestration.run_config import ComparisonRunConfig, InferenceRunConfig, RunConfig
from orchestration.unchanged import stamp_of, unchanged_since
from training.estimate import TaskLimit

log = logging.getLogger(__name__)
FORMS: Mapping[Flow, Form[Any]] = {"training": TRAINING, "inference": INFERENCE, "comparison": COMPARISON}
AnyRunConfig = RunConfig | InferenceRunConfig | ComparisonRunConfig


class NothingToDo(Exception):
    """A run that nobody asked for in person comes too late, or would repeat what is promoted; the message has the reason."""


@dataclass(frozen=True)
class Request:
    """What Airflow knows of a run when its plan begins.

    Attributes:
        dag_id: the DAG.
        run_id: its run's id.
        run_type: ``manual``, ``scheduled``, ``backfill`` or ``asset_triggered``.
        values: what the form, the API or the CLI sent.
        promoted: extras of the newest events of the promoted model's asset, newest first; asked only if needed.
        trigger: extra of the newest event that started this run, where an asset did.
        day: that the run is for.
        train_limit: how long the task *train* may take.
    """

    dag_id: str
    run_id: str
    run_type: str
    values: Mapping[str, Any]
    promoted: Callable[[], Iterable[Mapping[str, Any]]] = field(default=tuple)
    trigger: Mapping[str, Any] | None = None
    day: date | None = None
    train_limit: TaskLimit | None = None


def plan_training(request: Request) -> str:
    """Validate a request from raw text to predictions, check its inputs and the engines, and write ``run.json``.

    Returns:
        Absolute path or URI of the run's directory.

    Raises:
        BatonError, InfrastructureError: naming every fault and the remedy; no run directory is left behind.
        NothingToDo: the run is a scheduled one, and neither input nor configuration changed since the last promotion.
    """
    started = now()
    log.info("plan · run %s", run_key(request.run_id))
    config = TRAINING.build(dict(request.values), request.day)
    show(config)
    if request.run_type == "scheduled" and (reason := unchanged_since(request.promoted(), config)):
        raise NothingToDo(reason)
    found = preflight.check_training(config, cache_dir(), request.train_limit)
    record = StageRecord(stage="plan", started=started, headline=f"preset {config.preset}; " + "; ".join(found))
    record.metrics = {"checks": found, "stamp": stamp_of(config)}
    return write_run(request, config, flow("training"), record)


def plan_inference(request: Request) -> str:
    """Validate a request for predictions, find its model, check prompts and Ray, and write ``run.json``.

    The model comes from the event that started the run, else from the request. The plan's record names its artifact.

    Returns:
        Absolute path or URI of the run's directory.

    Raises:
        BatonError, InfrastructureError: naming every fault and the remedy; no run directory is left behind.
    """
    started = now()
    log.info("plan · run %s", run_key(request.run_id))
    values = dict(request.values)
    if request.trigger is not None:
        values |= {"model": _directory_of(request.trigger), "model_name": None, "version": None}
    config = INFERENCE.build(values, request.day)
    show(config)
    model, label = find_model(config.model)
    found = [
        label,
        *preflight.check_inference(config, settings_of(model), facts_of(model.manifest, ModelFacts).parameters),
    ]
    record = StageRecord(stage="plan", started=started, headline="; ".join(found), artifact=model.id)
    record.metrics = {"checks": found, "model": label}
    return write_run(request, config, flow("inference"), record)


def plan_comparison(request: Request) -> str:
    """Validate a request to compare the engines, and check that they are there and that the sizes fit.

    Returns:
        Absolute path or URI of the run's directory.

    Raises:
        BatonError, InfrastructureError: naming every fault and the remedy; no run directory is left behind.
    """
    started = now()
    log.info("plan · run %s", run_key(request.run_id))
    config = COMPARISON.build(dict(request.values), request.day)
    show(config)
    found = preflight.check_comparison(config, cache_dir())
    record = StageRecord(stage="plan", started=started, headline=f"preset {config.preset}; " + "; ".join(found))
    record.metrics = {"checks": found}
    return write_run(request, config, flow("comparison"), record)


def show(config: AnyRunConfig) -> None:
    """The whole configuration in the log, before anything is checked: an error then has its context."""
    log.info("preset %s; what the run will do:", config.preset)
    settings = config.model_dump(mode="json", exclude={"preset"})
    for line in yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, width=140).splitlines():
        log.info("  %s", line)


def write_run(request: Request, config: AnyRunConfig, stages: tuple[str, ...], record: StageRecord) -> str:
    """Write the run's directory with the plan's own record. Returns its path or URI."""
    run = RunDir(run_uri(request.dag_id, run_key(request.run_id)))
    run.create(storage_root(), config.model_dump(mode="json"), stages)
    run.save(record.model_copy(update={"status": "success", "ended": now()}))
    log.info("run directory: %s", run.uri)
    return run.uri


def _directory_of(event: Mapping[str, Any]) -> str:
    directory = event.get("directory")
    if not isinstance(directory, str):
        raise ConfigError(
            "the asset event that started this run names no model directory. Remedy: let spark_to_ray emit it, or "
            "trigger this DAG by hand with a model"
        )
    return directory
