"""Do Airflow, where drivers and jobs are configured, and the nodes of a cluster run the same versions?

A Ray node tells its Python and the project's commit by labels: ``ray start --labels "$(python -m orchestration.versions)"``.
A Spark master tells its version on its own page. What a side does not tell is not compared.
"""

import importlib.metadata
import platform
import re
import urllib.request
from typing import TYPE_CHECKING

from handoff.errors import EngineUnavailable
from handoff.manifest import current_producer

if TYPE_CHECKING:
    from airflow_ray.client import RayClient

PYTHON, COMMIT = "baton-python", "baton-commit"
REMEDY = "Remedy: run images of one build on both sides"
PAGE_SECONDS = 5


def here() -> dict[str, str]:
    """Python's minor version and the project's commit in this process, by label; an unknown commit is left out."""
    found = {PYTHON: ".".join(platform.python_version_tuple()[:2])}
    commit = re.sub(r"[^A-Za-z0-9._-]", "-", current_producer().commit)  # a label's value takes no "+"
    return found if commit == "unknown" else {**found, COMMIT: commit}


def label_text() -> str:
    """The same as ``ray start --labels`` takes it."""
    return ",".join(f"{name}={value}" for name, value in here().items())


def ray_mismatches(client: "RayClient", ships_code: bool) -> list[str]:
    """A line for each thing in which Airflow and the nodes of a Ray cluster differ; each names both sides.

    Args:
        client: of the cluster.
        ships_code: whether jobs bring the project along, so that the nodes' own commit does not matter.
    """
    lines = []
    ours, theirs = importlib.metadata.version("ray"), client.version()
    if ours != theirs:
        lines.append(f"Ray is {ours} in Airflow's environment and {theirs} at {client.get_address()}. {REMEDY}")
    labels = client.labels()
    for label, what in ((PYTHON, "Python"), (COMMIT, "the project's commit")):
        mine = here().get(label)
        other = {address: told[label] for address, told in labels.items() if told.get(label, mine) != mine}
        if mine and other and not (ships_code and label == COMMIT):
            nodes = ", ".join(f"{value} on {address}" for address, value in sorted(other.items()))
            lines.append(f"{what} is {mine} in Airflow's environment and {nodes} of Ray. {REMEDY}")
    return lines


def spark_mismatch(page: str) -> str | None:
    """The line for another version of Spark on the master, or None.

    Args:
        page: address of the master's own page, such as ``http://spark-master:8080``.

    Raises:
        EngineUnavailable: the page does not answer.
    """
    try:
        with urllib.request.urlopen(page, timeout=PAGE_SECONDS) as answer:
            text = answer.read(1 << 16).decode(errors="replace")
    except OSError as error:
        raise EngineUnavailable(f"Spark's page {page} does not answer ({error}). Remedy: correct master_ui") from error
    found = re.search(r'class="version[^"]*">\s*([0-9][^<\s]*)', text)
    ours = importlib.metadata.version("pyspark")
    if found is None or found.group(1) == ours:
        return None
    return f"Spark is {ours} in Airflow's environment and {found.group(1)} at {page}. {REMEDY}"


if __name__ == "__main__":
    print(label_text())
