"""deploy/kubernetes/ keeps its promises; each rule fails on a copy that breaks it. No cluster is asked."""

import copy
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import kube_check, kube_secrets
from orchestration.services import PROJECT
from tests.deploy import kube_policy as policy
from tests.deploy.kube_policy import KUBE_RULES, Tree


@pytest.fixture(scope="module")
def tree() -> Tree:
    return policy.load()


@pytest.mark.parametrize("rule", KUBE_RULES, ids=lambda rule: rule.__name__)
def test_the_manifests_keep_the_rule(rule: Callable[[Tree], list[str]], tree: Tree) -> None:
    assert rule(tree) == []


def put(start: Callable[[Tree], Tree], path: str, value: Any) -> Callable[[Tree], None]:
    """Changes one setting at a path below a part of the tree; None removes it, numbers are places in a list."""

    def change(tree: Tree) -> None:
        place: Any = start(tree)
        *steps, last = (int(step) if step.isdigit() else step for step in path.split("/"))
        for step in steps:
            place = place[step]
        if value is None:
            del place[last]
        else:
            place[last] = value

    return change


def document(kind: str) -> Callable[[Tree], Tree]:
    return lambda tree: next(d for d in tree["documents"] if d["kind"] == kind)


def container(name: str) -> Callable[[Tree], Tree]:
    return lambda tree: next(c for n, c in policy.containers(tree) if n == name)


def part(name: str) -> Callable[[Tree], Tree]:
    return lambda tree: tree[name]


CLUSTER, VALUES = document("RayCluster"), part("values")
EXECUTOR, WORKER = container("executor"), container("workers")
WORKERS, SPARK, MLFLOW = "spec/workerGroupSpecs/0", part("spark"), container("mlflow")
SECRET = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "mine"}, "stringData": {"a": "b"}}

BROKEN: dict[str, tuple[Callable[[Tree], list[str]], Callable[[Tree], None]]] = {
    "a field that no Deployment has": (policy.schemas, put(document("Deployment"), "spec/replica", 1)),
    "text for a number": (policy.schemas, put(document("Service"), "spec/ports/0/port", "5000")),
    "a field that no container has": (policy.schemas, put(WORKER, "comand", ["sh"])),
    "a rule without verbs": (policy.schemas, put(document("Role"), "rules/0/verbs", None)),
    "a wrong field of the executor": (policy.schemas, put(EXECUTOR, "envFroms", [])),
    "a wrong field of the init container": (policy.schemas, put(VALUES, "apiServer/extraInitContainers/0/arg", [])),
    "no memory limit": (policy.limits, put(WORKER, "resources/limits/memory", None)),
    "no request of cpu": (policy.limits, put(MLFLOW, "resources/requests/cpu", None)),
    "no limits of a component": (policy.limits, put(VALUES, "scheduler/resources", None)),
    "no memory of executors": (policy.limits, put(SPARK, "spark.executor.memory", None)),
    "no cpu limit of executors": (policy.limits, put(SPARK, "spark.kubernetes.executor.limit.cores", None)),
    "an executor's disk": (policy.limits, put(EXECUTOR, "resources/limits", None)),
    "no liveness probe": (policy.probes, put(container("head"), "livenessProbe", None)),
    "no readiness probe": (policy.probes, put(MLFLOW, "readinessProbe", None)),
    "root": (policy.not_root, put(CLUSTER, "spec/headGroupSpec/template/spec/securityContext/runAsUser", 0)),
    "the chart as root": (policy.not_root, put(VALUES, "securityContexts/pod/runAsNonRoot", False)),
    "privileges": (policy.not_root, put(EXECUTOR, "securityContext/allowPrivilegeEscalation", True)),
    "access to Kubernetes": (policy.not_root, put(part("executor"), "spec/automountServiceAccountToken", True)),
    "latest": (policy.images, put(WORKER, "image", "registry.example/baton-ray:latest")),
    "no tag": (policy.images, put(WORKER, "image", "registry.example/baton-ray")),
    "another version": (policy.images, put(VALUES, "images/airflow/tag", "0.0.9")),
    "another version of executors": (
        policy.images, put(SPARK, "spark.kubernetes.executor.container.image", "registry.example/baton-spark:9"),
    ),
    "somebody else's image": (policy.images, put(MLFLOW, "image", "docker.io/mlflow:0.1.0")),
    "a written secret": (policy.secrets, lambda tree: tree["documents"].append(SECRET)),
    "a written password": (policy.secrets, put(MLFLOW, "env/0", {"name": "MLFLOW_BACKEND_STORE_URI", "value": "x"})),
    "a secret that nobody makes": (policy.secrets, put(EXECUTOR, "envFrom/2/secretRef/name", "other")),
    "a key that nobody makes": (policy.secrets, put(MLFLOW, "env/2/valueFrom/secretKeyRef/key", "uri")),
    "Ray's token from nowhere": (policy.secrets, put(CLUSTER, "spec/authOptions/secretName", "ray")),
    "the chart's database": (policy.secrets, put(VALUES, "postgresql", None)),
    "a Fernet key of the chart": (policy.secrets, put(VALUES, "fernetKeySecretName", None)),
    "no token": (policy.ray, put(CLUSTER, "spec/authOptions/mode", "disabled")),
    "another Ray": (policy.ray, put(CLUSTER, "spec/rayVersion", "2.9.0")),
    "KubeRay's command": (policy.ray, put(CLUSTER, "metadata/annotations", None)),
    "a head that works": (policy.ray, put(container("head"), "command", ["ray", "start", "--head", "--block"])),
    "a store beyond shared memory": (policy.ray, put(WORKER, "env/2/value", str(4 << 30))),
    "no shared memory": (policy.ray, put(CLUSTER, f"{WORKERS}/template/spec/volumes", None)),
    "a cluster that grows": (policy.ray, put(CLUSTER, f"{WORKERS}/maxReplicas", 9)),
    "a second copy of a setting": (policy.shared, put(document("ConfigMap"), "data/RAY_AUTH_MODE", "token")),
    "a second copy in a container": (policy.shared, put(MLFLOW, "env/0", {"name": "PYTHONUNBUFFERED", "value": "1"})),
    "settings of its own": (policy.shared, put(EXECUTOR, "envFrom", [])),
    "variables of services": (policy.links, put(document("Deployment"), "spec/template/spec/enableServiceLinks", None)),
    "variables of services in Airflow": (policy.links, put(VALUES, "enableServiceLinks", True)),
    "another executor": (policy.shared, put(VALUES, "executor", "CeleryExecutor")),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_copy_is_found(name: str, tree: Tree) -> None:
    rule, breaks = BROKEN[name]
    broken = json.loads(json.dumps(tree))  # deep, and without the anchors that YAML shares between places
    breaks(broken)
    assert broken != tree
    assert rule(broken), f"{rule.__name__} does not see: {name}"


def test_every_rule_has_a_broken_copy() -> None:
    assert {rule for rule, _ in BROKEN.values()} == set(KUBE_RULES)


def test_spark_has_the_same_committer_everywhere(tree: Tree) -> None:
    compose = policy.spark_settings((PROJECT / "deploy" / "spark" / "spark-defaults.conf").read_text())
    differs = {"spark.executor.memory", "spark.hadoop.fs.s3a.endpoint", "spark.hadoop.fs.s3a.connection.ssl.enabled"}
    assert {key: tree["spark"].get(key) for key in compose.keys() - differs} == {
        key: value for key, value in compose.items() if key not in differs
    }


DEFINITION = """
spec:
  versions:
    - name: v1
      schema:
        openAPIV3Schema:
          type: object
          properties:
            metadata: {type: object}
            replicas: {type: integer}
            free: {type: object, properties: {a: {type: string}}, x-kubernetes-preserve-unknown-fields: true}
            memory: {anyOf: [{type: integer}, {type: string}], type: string, x-kubernetes-int-or-string: true}
"""


def test_a_custom_resource_takes_no_unknown_field() -> None:
    schema = kube_check.resource_schema(yaml.safe_load(DEFINITION), "v1")
    good = {"metadata": {"name": "x"}, "replicas": 1, "free": {"b": 2}, "memory": 5}
    assert kube_check.faults(good, schema) == []
    (unknown,) = kube_check.faults({**good, "replica": 1}, schema)
    assert "replica" in unknown
    (wrong,) = kube_check.faults({**good, "replicas": "two"}, schema)
    assert wrong.startswith("replicas: ")


def test_secrets_are_made_once_and_ask_for_what_is_yours(tmp_path: Path) -> None:
    file = tmp_path / ".env.kubernetes"
    with pytest.raises(ValueError, match="lacks DATABASE, S3_ACCESS_KEY, S3_SECRET_KEY"):
        kube_secrets.settings(file)
    assert not file.exists()
    file.write_text("DATABASE=mysql://a:b@c\nS3_ACCESS_KEY=ours\nS3_SECRET_KEY=too\n")
    with pytest.raises(ValueError, match="postgresql://user:password"):
        kube_secrets.settings(file)
    file.write_text("DATABASE=postgresql://a:b@c:5432/\nS3_ACCESS_KEY=ours\nS3_SECRET_KEY=too\n")
    made = kube_secrets.secrets(kube_secrets.settings(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert kube_secrets.secrets(kube_secrets.settings(file)) == made
    assert made["baton-metadata"] == {"connection": "postgresql+psycopg2://a:b@c:5432/airflow"}
    assert made["baton-store"] == {"AWS_ACCESS_KEY_ID": "ours", "AWS_SECRET_ACCESS_KEY": "too"}
    ray = json.loads(made["baton-connections"]["AIRFLOW_CONN_RAY_DEFAULT"])
    assert ray["password"] == made["baton-ray"]["auth_token"] and len(ray["password"]) == 64


@pytest.mark.faults  # imports Airflow's provider and Kubernetes' client: seconds
def test_the_connection_reaches_kubernetes_through_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook

    connections = kube_secrets.secrets(copy.deepcopy(policy.GIVEN))["baton-connections"]
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", connections["AIRFLOW_CONN_SPARK_DEFAULT"])
    command = " ".join(SparkSubmitHook(conn_id="spark_default")._build_spark_submit_command("job.py"))
    assert "--master k8s://https://kubernetes.default.svc:443" in command
    assert "--deploy-mode client" in command and "spark.kubernetes.namespace=baton" in command
