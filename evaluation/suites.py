"""Suites of lm-evaluation-harness by name, from task files of this deployment. Nothing is fetched.

``BATON_SUITES`` names a directory of task files (YAML) whose data are local files. Task files are code: they may call
Python functions and render templates. So the deployment says where they are, and a request only names one.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from evaluation.config import EvaluationConfig
from evaluation.pool import Contender, load
from handoff.errors import ConfigError
from handoff.model_files import model_directory

VARIABLE = "BATON_SUITES"
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


class SuiteScores(NamedTuple):
    """A suite's metric per document, under each model."""

    values: dict[str, list[float]]
    higher_is_better: bool


def check_suites(config: EvaluationConfig) -> None:
    """See that the suites of the gate can be run here.

    Raises:
        ConfigError: lm-eval is not installed, the directory is missing, or it has no such task.
    """
    if not config.suites:
        return
    try:
        from lm_eval.tasks import TaskManager
    except ImportError:
        raise ConfigError(
            "the gate names a suite, and lm-eval is not installed here. Remedy: install the extra `suites` where "
            "evaluate runs (uv pip install -c constraints.txt 'lm-eval>=0.4.13'), or take suite: out of evaluation.gate"
        ) from None
    directory = _directory()
    known = set(TaskManager(include_path=str(directory), include_defaults=False).all_tasks)
    if missing := sorted({task for task, _ in map(_parts, config.suites)} - known):
        raise ConfigError(
            f"{directory} has no task {', '.join(missing)} (known: {', '.join(sorted(known)) or 'none'}). Remedy: correct "
            "evaluation.gate, or put its task file there"
        )


def identity_of(config: EvaluationConfig) -> dict[str, Any]:
    """Digest of the directory's files, where the gate asks for a suite; part of the evaluation's id."""
    if not config.suites:
        return {}
    digest = hashlib.sha256()
    for file in sorted(path for path in _directory().rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        digest.update(f"{file.relative_to(_directory())}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return {"suites": config.suites, "files": digest.hexdigest()}


def run_suites(models: Mapping[str, Contender], config: EvaluationConfig) -> dict[str, SuiteScores]:
    """Every suite metric of the gate, by ``TASK/METRIC``. One model after the other, each in a Ray task of its own.

    Raises:
        ConfigError: a metric that the task does not have, or whose value is not a mean over its documents.
    """
    import ray

    remote = ray.remote(
        num_cpus=0 if config.use_gpu else 1,
        num_gpus=1 if config.use_gpu else 0,
        max_retries=0,
        runtime_env={"env_vars": OFFLINE},  # read when the libraries are imported, so in a process of its own
    )(_run)
    found: dict[str, dict[str, tuple[list[float], bool]]] = {
        name: ray.get(remote.remote(contender, config, str(_directory()))) for name, contender in models.items()
    }
    scores = {}
    for suite in config.suites:
        directions = {found[name][suite][1] for name in models}
        scores[suite] = SuiteScores({name: found[name][suite][0] for name in models}, directions.pop())
    return scores


def _run(contender: Contender, config: EvaluationConfig, directory: str) -> dict[str, tuple[list[float], bool]]:
    """Per ``TASK/METRIC`` the value of each document, and whether higher is better."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from transformers import AutoTokenizer

    path = model_directory(contender.artifact)
    model = HFLM(
        pretrained=load(contender.artifact, config.use_gpu),
        tokenizer=AutoTokenizer.from_pretrained(path),
        batch_size=config.batch_size,
        max_length=config.max_tokens,
    )
    told = simple_evaluate(
        model=model,
        tasks=sorted({task for task, _ in map(_parts, config.suites)}),
        task_manager=TaskManager(include_path=directory, include_defaults=False),
        log_samples=True,
        bootstrap_iters=0,
    )
    return {suite: _per_document(told, *_parts(suite)) for suite in config.suites}


def _per_document(told: Any, task: str, metric: str) -> tuple[list[float], bool]:
    samples = told["samples"][task]
    offered = sorted({name for sample in samples for name in sample.get("metrics", ())})
    values = [sample.get(metric) for sample in sorted(samples, key=lambda s: s["doc_id"])]
    if not values or not all(isinstance(value, int | float) for value in values):
        raise ConfigError(
            f"suite:{task}/{metric} is no metric with a value per document. Remedy: take one of {', '.join(offered) or 'none'}"
        )
    return [float(value) for value in values], bool(told["higher_is_better"][task].get(metric, True))


def _parts(suite: str) -> tuple[str, str]:
    task, _, metric = suite.partition("/")
    return task, metric


def _directory() -> Path:
    named = os.environ.get(VARIABLE)
    if not named or not Path(named).is_dir():
        raise ConfigError(
            f"{VARIABLE} {'is not set' if not named else f'is {named}, which is no directory'} where evaluate runs, so "
            "there is no suite. Remedy: point it at a directory of lm-eval task files with local data"
        )
    return Path(named)
