"""Checks that take seconds, before work that takes hours: inputs exist and are readable, engines answer."""

import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import BaseHook

from airflow_ray.errors import RayUnreachable
from airflow_ray.hook import RayHook
from comparison.advise import one_line
from comparison.measure.needs import require_disk, require_engines
from etl.config import SourceConfig
from etl.java import find_java_home
from etl.langid import check_languages
from etl.read.check import check_source
from handoff.capacity import Group
from handoff.errors import BatonError, CapacityError, ConfigError, EngineUnavailable, InfrastructureError
from handoff.home import baton_home
from handoff.positions import completion_length, refuse_too_long
from handoff.store import Store
from inference.advice import engine_advice
from inference.memory import replica_memory
from inference.prompts import check_prompts
from orchestration.paths import storage_root
from orchestration.run_config import ComparisonRunConfig, InferenceRunConfig, RunConfig
from orchestration.versions import ray_mismatches, spark_mismatch
from registry.check import check_registry
from training.base.artifact import check_fit, counted, look_into
from training.estimate import TaskLimit, memory_line, time_line, training_seconds

log = logging.getLogger(__name__)


def check_training(config: RunConfig, cache: Path, limit: TaskLimit | None = None) -> list[str]:
    """Look at everything that a run from raw text to predictions needs; as :func:`run_checks`.

    Args:
        config: the validated configuration.
        cache: directory for downloaded packages.
        limit: of the task *train*, where it is known.
    """
    raw: list[tuple[str, int]] = []  # what the first check found: the last one needs its size and does not look again
    return run_checks(
        {
            "corpus": lambda: _source(config, cache, raw),
            "languages": lambda: check_languages(config.corpus.language),
            "decontamination": lambda: _evaluation_files(config, cache),
            "base model": lambda: _base_model(config, cache, raw, limit),
            "prompts": lambda: check_prompts(config.inference),
            "Spark": lambda: check_spark("spark_default", cache),
            "Ray": lambda: check_ray(
                "ray_default", config.training.workers, config.evaluation.actors, config.inference.actors
            ),
            "MLflow": lambda: check_registry(config.promotion),
            "engine": lambda: engine_advice(config.inference),
            "advice": lambda: _advice(raw),
        }
    )


def check_inference(
    config: InferenceRunConfig, settings: Mapping[str, Any], parameters: int | None = None
) -> list[str]:
    """Look at everything that predictions need besides the model's files; as :func:`run_checks`.

    Args:
        config: the validated configuration.
        settings: the model's ``config.json``.
        parameters: of the model, where its artifact tells them.
    """
    return run_checks(
        {
            "model": lambda: refuse_too_long(settings, completion_length(config.inference.max_new_tokens)),
            "prompts": lambda: check_prompts(config.inference),
            "Ray": lambda: check_ray("ray_default", config.inference.actors),
            "memory": lambda: replica_memory(settings, config.inference, ray_nodes("ray_default"), parameters),
            "engine": lambda: engine_advice(config.inference),
        }
    )


def check_comparison(config: ComparisonRunConfig, cache: Path) -> list[str]:
    """Look at everything that a comparison of the engines needs on this machine; as :func:`run_checks`."""
    chosen = config.comparison
    return run_checks(
        {
            "engines": lambda: require_engines(chosen.engines),
            "Spark": lambda: f"Java in {find_java_home(cache)}" if "spark" in chosen.engines else None,
            "cores": lambda: f"{chosen.usable_cores} cores and {chosen.memory_gib:g} GiB for each engine",
            "disk": lambda: require_disk(chosen, baton_home()),
            "source": lambda: _compared_source(chosen.source, max(chosen.sizes_mb), cache),
        }
    )


def _compared_source(source: SourceConfig | None, megabytes: float, cache: Path) -> str | None:
    """What the source has. The text in it is counted when the tables are made; packed files hold more than their size."""
    if source is None:
        return None
    files = check_source(source, cache)
    return f"{len(files)} raw files, {sum(size for _, size in files) / 1e6:.1f} MB, for up to {megabytes:g} MB of text"


def ray_nodes(conn_id: str) -> list[dict[str, float]]:
    """What each node of a connection's cluster has; none where it does not answer, which ``check_ray`` tells."""
    try:
        return RayHook(conn_id).get_conn().nodes()
    except (RayUnreachable, ValueError):
        return []


def run_checks(checks: Mapping[str, Callable[[], str | None]]) -> list[str]:
    """Run all checks, whatever the others find.

    Returns:
        What was found, a line each.

    Raises:
        BatonError: with every problem found, each with its remedy, where one of them is the user's to fix.
        InfrastructureError: the same, where all of them may pass by themselves.
    """
    found: list[str] = []
    problems: list[str] = []
    mine = False
    for name, look in checks.items():
        try:
            line = look()
        except (BatonError, InfrastructureError) as error:
            problems.append(f"{name}: {error}")
            mine = mine or isinstance(error, BatonError)
        else:
            if line:
                found.append(line)
                log.info("%s: %s", name, line)
    if problems:
        raise (BatonError if mine else InfrastructureError)("\n".join(problems))
    return found


def _source(config: RunConfig, cache: Path, raw: list[tuple[str, int]]) -> str:
    """Name and size of every raw file, which are added to ``raw``."""
    raw += [file for source in config.corpus.sources for file in check_source(source, cache)]
    return f"{len(raw)} raw files, {sum(size for _, size in raw) / 1e6:.1f} MB"


def _advice(raw: list[tuple[str, int]]) -> str | None:
    """What the last comparison of the engines says of a run of this size; None where none was published."""
    return one_line(Store(storage_root()), sum(size for _, size in raw) / 1e6) if raw else None


def _base_model(config: RunConfig, cache: Path, raw: Sequence[tuple[str, int]], limit: TaskLimit | None) -> str:
    seen = look_into(config.training.base, cache)
    lengths = {"evaluation.max_tokens": config.evaluation.max_tokens} | completion_length(
        config.inference.max_new_tokens
    )
    note = check_fit(seen, config.training, lengths)
    counts, nodes = counted(seen, config.training), ray_nodes("ray_default")
    replica = replica_memory(seen.settings, config.inference, nodes, counts.parameters if counts else None)
    told = [seen.line, note, memory_line(seen.settings, counts, config.training), replica]
    if counts:
        seconds = training_seconds(counts, config.training, sum(size for _, size in raw), nodes)
        told.append(time_line(seconds, limit))
    return "; ".join(filter(None, told))


def _evaluation_files(config: RunConfig, cache: Path) -> str | None:
    files = [file for source in config.corpus.decontamination.sources for file in check_source(source, cache)]
    return f"{len(files)} evaluation files" if files else None


def check_spark(conn_id: str, cache: Path) -> str:
    """The Spark that a connection names, where it can be told: Java for a local one, an open port for a standalone one."""
    connection = BaseHook.get_connection(conn_id)
    master = connection.host or ""
    if master.startswith("local"):
        return f"Spark {master} on {find_java_home(cache)}"
    if connection.port:
        address = (master.split("//")[-1], connection.port)
        try:
            socket.create_connection(address, timeout=5).close()
        except OSError as error:
            raise EngineUnavailable(
                f"no Spark master answers at {address[0]}:{address[1]} ({error}). "
                f"Remedy: start it, or correct the connection {conn_id}"
            ) from error
    if (page := connection.extra_dejson.get("master_ui")) and (mismatch := spark_mismatch(page)):
        raise ConfigError(mismatch)
    return f"Spark at {master}"


def check_ray(conn_id: str, *groups: Group) -> str:
    """The Ray cluster that a connection names: its version and what it has, which must hold each of the groups."""
    try:
        hook = RayHook(conn_id)
        client = hook.get_conn()
        found, nodes = client.describe(), client.nodes()
        mismatches = ray_mismatches(client, ships_code=bool(hook.cluster.working_dir))
    except RayUnreachable as error:
        raise EngineUnavailable(
            f"{error}. Remedy: start it (`make up` starts one here), or correct the connection {conn_id}"
        ) from error
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if not any(node.get("CPU") or node.get("GPU") for node in nodes):  # a head that has just started
        raise EngineUnavailable(f"{found}: no node has joined it yet. Remedy: none, the task is tried again")
    if mismatches:
        raise ConfigError("\n".join(mismatches))
    if problems := [p for group in groups if (p := group.problem(nodes))]:
        raise CapacityError("\n".join(problems))
    return found
