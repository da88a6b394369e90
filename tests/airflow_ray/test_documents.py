"""What of the provider's documents and of its distribution must be true of the code."""

import inspect
import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

from airflow_ray.operator import RayJobOperator
from airflow_ray.provider import EXTRA_KEYS, get_provider_info
from airflow_ray.sensor import RayJobSensor

HERE = Path(inspect.getfile(RayJobOperator)).parent


def test_the_readme_has_every_argument_and_every_field_of_the_connection() -> None:
    rows = set(re.findall(r"^\| `(\w+)`", (HERE / "README.md").read_text(), re.M))
    for operator in (RayJobOperator, RayJobSensor):
        assert set(inspect.signature(operator.__init__).parameters) - {"self", "kwargs"} <= rows
    assert set(EXTRA_KEYS) <= rows


def test_one_distribution_registers_the_provider() -> None:
    """Two would be an error in Airflow, or a provider under the wrong name."""
    found = [e for e in entry_points(group="apache_airflow_provider") if e.value.startswith("airflow_ray.")]
    assert {(e.value, e.dist.name) for e in found if e.dist} == {
        ("airflow_ray.provider:get_provider_info", get_provider_info()["package-name"])
    }


def test_the_distribution_is_what_the_provider_says() -> None:
    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    assert project["name"] == get_provider_info()["package-name"]
    assert {re.split(r"[\[><=]", need)[0] for need in project["dependencies"]} == {"apache-airflow", "ray"}
    assert f"## {project['version']}\n" in (HERE / "CHANGELOG.md").read_text()
