"""The first stage: validate what was asked for, look before leaping, and write the run's directory."""

import logging
from typing import Any

import yaml

from handoff.manifest import now
from handoff.packages import cache_dir
from handoff.run_dir import RunDir
from orchestration import forms, preflight
from orchestration.paths import run_key, run_uri, storage_root

log = logging.getLogger(__name__)


def plan(run_id: str, request: dict[str, Any]) -> str:
    """Validate a request, check its inputs and the engines, and write ``run.json``.

    Args:
        run_id: the DAG run's id.
        request: what the form, the API or the CLI sent: form fields, and ``overrides``.

    Returns:
        Absolute path or URI of the run's directory.

    Raises:
        BatonError: naming what is wrong and the remedy; no run directory is left behind.
    """
    started = now()
    log.info("plan · run %s", run_key(run_id))
    config = forms.build_config(request)
    log.info("preset %s; what the run will do:", config.preset)
    settings = config.model_dump(mode="json", exclude={"preset"})
    for line in yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, width=140).splitlines():
        log.info("  %s", line)
    found = preflight.check(config, cache_dir())
    run = RunDir(run_uri(run_key(run_id)))
    run.create(storage_root(), config.model_dump(mode="json"))
    with run.stage("plan") as record:
        record.started = started  # the checks came before there was a directory to record them in
        record.metrics = {"checks": found}
        record.headline = f"preset {config.preset}; " + "; ".join(found)
    log.info("run directory: %s", run.uri)
    return run.uri
