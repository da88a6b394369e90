"""docker-compose.yaml and Dockerfile keep their promises; each rule fails on a copy that breaks it. No container starts."""

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest

from deploy.engine import FILE, PROFILES, PROJECT, waves
from tests.deploy import policy
from tests.deploy.policy import COMPOSE_RULES, Compose

DOCKERFILE = (PROJECT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def compose() -> Compose:
    return policy.load(FILE.read_text())


@pytest.mark.parametrize("rule", COMPOSE_RULES, ids=lambda rule: rule.__name__)
def test_the_compose_file_keeps_the_rule(rule: Callable[[Compose], list[str]], compose: Compose) -> None:
    assert rule(compose) == []


def put(service: str, key: str, value: Any) -> Callable[[Compose], None]:
    """Changes one setting of a service; ``environment.NAME`` reaches into a mapping, None removes."""

    def change(compose: Compose) -> None:
        place: dict[str, Any] = compose["services"][service]
        *path, last = key.split("/")
        for part in path:
            place[part] = copy.deepcopy(place[part])  # anchors are shared between services
            place = place[part]
        assert value is not None or last in place, "the broken copy would be no other"
        place.pop(last, None)
        if value is not None:
            place[last] = value

    return change


BROKEN = {
    "a port of another service": (policy.ports, put("postgres", "ports", ["127.0.0.1:5432:5432"])),
    "the UI on every address": (policy.ports, put("airflow-api-server", "ports", ["8080:8080"])),
    "a dashboard on every address": (policy.ports, put("dashboards", "ports", ["0.0.0.0:8265:8265"])),
    "the host's network": (policy.ports, put("ray-head", "network_mode", "host")),
    "another network": (policy.networks, put("mlflow", "networks", ["outside"])),
    "a way out": (policy.networks, lambda c: c["networks"].update(inside={})),
    "a default password": (policy.secrets, put("postgres", "environment/POSTGRES_PASSWORD", "${POSTGRES_PASSWORD:-airflow}")),
    "a written password": (policy.secrets, put("postgres", "environment/POSTGRES_PASSWORD", "airflow")),
    "an empty token": (policy.secrets, put("ray-worker", "environment/RAY_AUTH_TOKEN", "${RAY_TOKEN}")),
    "a password in an address": (policy.secrets, put("mlflow", "environment/MLFLOW_BACKEND_STORE_URI", "postgresql://a:b@postgres/m")),
    "a password in a connection": (policy.secrets, put("airflow-scheduler", "environment/AIRFLOW_CONN_RAY_DEFAULT", '{"password": "x"}')),
    "a key on a command line": (policy.secrets, put("s3", "command", ["weed", "${S3_SECRET_KEY:?x}"])),
    "no health check": (policy.health, put("spark-worker", "healthcheck", None)),
    "a health check without a start period": (policy.health, put("ray-head", "healthcheck/start_period", None)),
    "a start that is not waited for": (policy.health, put("ray-worker", "depends_on", ["ray-head"])),
    "health of what ends": (policy.health, put("airflow-scheduler", "depends_on/airflow-init", {"condition": "service_healthy"})),
    "no memory limit": (policy.limits, put("ray-worker", "deploy/resources/limits/memory", None)),
    "no limits at all": (policy.limits, put("postgres", "deploy", None)),
    "no restart": (policy.restarts, put("spark-master", "restart", None)),
    "a log without end": (policy.restarts, put("airflow-triggerer", "logging", None)),
    "latest": (policy.images, put("postgres", "image", "postgres:latest")),
    "no tag": (policy.images, put("postgres", "image", "docker.io/library/postgres")),
    "no tag of ours": (policy.images, put("ray-head", "image", "localhost/baton-ray")),
    "a writable mount": (policy.volumes, put("s3", "volumes", ["./var:/data"])),
    "an unknown volume": (policy.volumes, put("s3", "volumes", ["elsewhere:/data"])),
    "a node without a token": (policy.ray, put("ray-worker", "environment/RAY_AUTH_TOKEN", None)),
    "a store beyond shared memory": (policy.ray, put("ray-head", "environment/RAY_OBJECT_STORE_BYTES", "${X:-1073741824}")),
    "two networks without a name on one": (policy.ray, put("ray-worker", "networks", ["inside", "outside"])),
    "the head's name on no network": (policy.ray, put("ray-head", "environment/RAY_NODE_NAME", "ray-head")),
    "a second copy of a setting": (policy.shared, put("ray-head", "environment/RAY_AUTH_MODE", "token")),
    "settings of its own": (policy.shared, put("mlflow", "env_file", [])),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_copy_is_found(name: str, compose: Compose) -> None:
    rule, breaks = BROKEN[name]
    broken = copy.deepcopy(compose)
    breaks(broken)
    assert broken != compose
    assert rule(broken), f"{rule.__name__} does not see: {name}"


def test_every_rule_has_a_broken_copy() -> None:
    assert {rule for rule, _ in BROKEN.values()} == set(COMPOSE_RULES)


def test_the_dockerfile_keeps_its_rules() -> None:
    assert policy.dockerfile(DOCKERFILE) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"python:3\.11-slim-bookworm\n", "python\n"),
        (r'ENTRYPOINT \["tini"', 'ENTRYPOINT ["sh"'),
        (r"USER baton", "USER root"),
        (r"HEALTHCHECK", "# no check"),
        (r"image\.revision", "image.other"),
        (r"AS gpu\n", "AS cuda\n"),
        (r"(AS ray-packages\n)", r"\1COPY . .\n"),
        (r"ARG MAVEN=", "ARG PIP_INDEX_URL="),
    ],
)
def test_a_broken_dockerfile_is_found(old: str, new: str) -> None:
    broken, changes = re.subn(old, new, DOCKERFILE)
    assert changes
    assert policy.dockerfile(broken)


def test_services_start_after_what_they_wait_for(compose: Compose) -> None:
    order = [name for wave in waves(compose["services"]) for name in wave]
    assert order.index("postgres") < order.index("airflow-init") < order.index("airflow-api-server")
    assert order.index("airflow-api-server") < order.index("airflow-scheduler")
    assert {"s3", "dashboards", "ray-gpu-worker"} & set(order) == set()
    assert {"s3", "s3-init"} <= {name for wave in waves(compose["services"], ["s3"]) for name in wave}


def test_a_cycle_is_refused() -> None:
    with pytest.raises(ValueError, match="a, b"):
        waves({"a": {"depends_on": {"b": {}}}, "b": {"depends_on": {"a": {}}}})


def test_every_profile_is_known_to_make_cluster_down(compose: Compose) -> None:
    used = {profile for service in compose["services"].values() for profile in service.get("profiles", ())}
    assert used == set(PROFILES)


def test_the_driver_of_spark_listens_where_executors_are(compose: Compose) -> None:
    """A container on two networks binds to either: executors on the other are refused, and are started anew for ever."""
    if len(compose["services"]["airflow-scheduler"]["networks"]) > 1:
        settings = (PROJECT / "deploy/spark/spark-defaults.conf").read_text()
        assert re.search(r"^spark\.driver\.bindAddress\s+0\.0\.0\.0$", settings, re.MULTILINE)
