"""
### A promoted model → a directory that a server reads

A DAG of your own that follows the promotions of `spark_to_ray`. Copy this file into the DAG folder and edit the constants.

| | |
|---|---|
| **Input** | the newest promotion of `MODEL`, from the events of the asset `promoted_model` |
| **Output** | `TARGET/MODEL/<artifact id>/`, a Hugging Face directory, and the link `TARGET/MODEL/current` to it |
| **Starts** | when a model is promoted, or by hand |
| **Owner** | data-platform |
| **When a task fails** | the link still names the earlier model |
| **Does a failure need someone at night?** | No. The server keeps the earlier model. |
| **To rerun** | clear the task; a model that was delivered is not copied again |
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from orchestration.assets import PROMOTED_MODEL, newest_extras
from orchestration.policy import DEFAULT_ARGS, TAGS

# -- to edit
MODEL = "shakespeare"  # the registered model to deliver; promotions of others are ignored
TARGET = "/srv/models"
# --


def deliver(event: Mapping[str, Any], target: str) -> str:
    """Copy the model that a promotion's event names below ``target``, then move the link ``current`` to it.

    The link changes in one step, so a reader sees the old model or the new one.

    Returns:
        Path of the link.

    Raises:
        ArtifactError: a file of the model is missing or was changed. The link stays as it was.
    """
    import shutil
    import uuid
    from pathlib import Path

    from handoff.artifact import open_artifact
    from handoff.model_files import model_directory
    from handoff.verify import locate

    artifact = open_artifact(*locate(event["directory"]), digests=True)
    delivered = Path(target) / event["model"] / artifact.id
    aside = delivered.with_name(f".{uuid.uuid4().hex}")
    if not delivered.exists():
        shutil.copytree(model_directory(artifact), aside)
        aside.rename(delivered)
    aside.symlink_to(delivered.name)
    return str(aside.replace(delivered.with_name("current")))


with DAG(
    "deliver_model",
    doc_md=__doc__,
    schedule=[PROMOTED_MODEL],
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=TAGS,
):

    @task(
        inlets=[PROMOTED_MODEL], execution_timeout=timedelta(hours=1), doc_md="Copies the model, then moves the link."
    )
    def deliver_newest(*, inlet_events: Any = None) -> str:
        from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

        from handoff.errors import BatonError

        promotions = newest_extras(inlet_events[PROMOTED_MODEL])
        newest = next((event for event in promotions if event.get("model") == MODEL), None)
        if newest is None:
            raise AirflowSkipException(f"{MODEL} was not promoted yet")
        try:
            return deliver(newest, TARGET)
        except BatonError as error:  # a retry cannot help: somebody must look at the store
            raise AirflowFailException(str(error)) from None

    deliver_newest()
