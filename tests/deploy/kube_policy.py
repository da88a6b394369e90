"""Rules for deploy/kubernetes/: each returns what breaks it, as one line per fault.

Kubernetes' own schemas come from the package kubernetes-validate. Those of KubeRay and of Airflow's chart are in no
package; `make kubernetes-check` fetches the published ones.
"""

import re
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import jsonschema
import yaml
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

from deploy import kube_secrets
from deploy.env_file import SECRETS
from orchestration.services import PROJECT, SHARED, settings_of

FOLDER = PROJECT / "deploy" / "kubernetes"
KUBERNETES = "1.33"  # the oldest that the schemas are held against
VERSION = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
UID = 50000
COMPONENTS = ("apiServer", "scheduler", "dagProcessor", "triggerer")
GIVEN = {name: f"{name.lower()}-of-a-test" for name in (*SECRETS, *kube_secrets.YOURS)}
GIVEN["DATABASE"] = "postgresql://user:password@host:5432"

Tree = dict[str, Any]


def load() -> Tree:
    """Everything below deploy/kubernetes: ``documents`` for kubectl, the ``executor`` pod, the chart's ``values``, ``spark``."""
    files = ("base", "mlflow", "raycluster")
    return {
        "documents": [d for name in files for d in yaml.safe_load_all((FOLDER / f"{name}.yaml").read_text())],
        "executor": yaml.safe_load((FOLDER / "spark" / "executor.yaml").read_text()),
        "values": yaml.safe_load((FOLDER / "airflow-values.yaml").read_text()),
        "spark": spark_settings((FOLDER / "spark" / "spark-defaults.conf").read_text()),
    }


def spark_settings(text: str) -> dict[str, str]:
    lines = (line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {name: value.strip() for name, value in lines}


def ray_groups(tree: Tree) -> dict[str, Tree]:
    """Head and worker groups of the RayCluster, by name."""
    (spec,) = [d["spec"] for d in tree["documents"] if d["kind"] == "RayCluster"]
    return {"head": spec["headGroupSpec"], **{g["groupName"]: g for g in spec["workerGroupSpecs"]}}


def pods(tree: Tree) -> Iterator[tuple[str, Tree]]:
    """The specification of every pod that is written out."""
    yield "executor", tree["executor"]["spec"]
    for document in tree["documents"]:
        if document["kind"] == "Deployment":
            yield document["metadata"]["name"], document["spec"]["template"]["spec"]
    for name, group in ray_groups(tree).items():
        yield name, group["template"]["spec"]


def containers(tree: Tree) -> Iterator[tuple[str, Tree]]:
    for name, spec in pods(tree):
        for container in spec["containers"]:
            yield name, container
    for container in tree["values"]["apiServer"]["extraInitContainers"]:
        yield container["name"], container


@cache
def _validator(kind: str, version: str) -> jsonschema.Draft202012Validator:
    """Of the package's schemas that refuse unknown fields. Its own ``validate`` reads a megabyte for every document."""
    folder, names = f"kubernetes-json-schema/v{KUBERNETES}.0-local-strict", (f"{kind}-{version}", "_definitions")
    schema, definitions = (schema_contents(f"{folder}/{name}.json", KUBERNETES) for name in names)
    registry = Resource.from_contents(schema) @ (Resource.from_contents(definitions) @ Registry())
    return jsonschema.Draft202012Validator(schema, registry=registry)


def schemas(tree: Tree) -> list[str]:
    """Documents and pods are what Kubernetes' published schemas allow, without a field that they do not know."""
    own = [d for d in tree["documents"] if d["kind"] != "RayCluster"]
    templates = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": n}, "spec": s} for n, s in pods(tree)]
    init = {"containers": tree["values"]["apiServer"]["extraInitContainers"]}
    templates.append({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "init"}, "spec": init})
    faults = []
    for document in (*own, *templates):
        group, _, version = document["apiVersion"].rpartition("/")
        name = f"{group.split('.')[0]}-{version}" if group else version
        for error in _validator(document["kind"].lower(), name).iter_errors(document):
            where = ".".join(str(part) for part in error.path)
            faults.append(f"{document['kind']} {document['metadata']['name']}: {where}: {error.message[:200]}")
    return faults


def limits(tree: Tree) -> list[str]:
    """Every container has requests and limits of CPU and memory; those of executors are Spark's settings."""
    wanted = [(n, c["resources"]) for n, c in containers(tree) if n != "executor"]
    wanted += [(name, tree["values"][name].get("resources", {})) for name in COMPONENTS]
    faults = [
        f"{name} has no {side} of {what}"
        for name, resources in wanted
        for side in ("requests", "limits")
        for what in ("cpu", "memory")
        if not resources.get(side, {}).get(what)
    ]
    for key in ("memory", "memoryOverhead", "cores"):
        if f"spark.executor.{key}" not in tree["spark"]:
            faults.append(f"spark.executor.{key} is not set")
    if "spark.kubernetes.executor.limit.cores" not in tree["spark"]:
        faults.append("executors have no limit of cpu")
    if not tree["executor"]["spec"]["containers"][0].get("resources", {}).get("limits", {}).get("ephemeral-storage"):
        faults.append("an executor's shuffled rows may fill its node's disk")
    return faults


def probes(tree: Tree) -> list[str]:
    """Whatever goes on has three probes. Spark's driver replaces executors by their heartbeats; init containers end."""
    return [
        f"{name} has no {probe}"
        for name, container in containers(tree)
        if name not in ("executor", "airflow-init")
        for probe in ("startupProbe", "readinessProbe", "livenessProbe")
        if not container.get(probe)
    ]


def not_root(tree: Tree) -> list[str]:
    """No pod runs as root or may gain privileges, and none has access to Kubernetes but Spark's driver."""
    faults = []
    specs = [*pods(tree), ("values", {"securityContext": tree["values"]["securityContexts"]["pod"]})]
    for name, spec in specs:
        context = spec.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or context.get("runAsUser") != UID:
            faults.append(f"{name} may run as root")
        if name != "values" and spec.get("automountServiceAccountToken") is not False:
            faults.append(f"{name} has access to Kubernetes")
    for name, context in (
        *((name, c.get("securityContext", {})) for name, c in containers(tree)),
        ("values", tree["values"]["securityContexts"]["containers"]),
    ):
        if context.get("allowPrivilegeEscalation") is not False or context.get("capabilities") != {"drop": ["ALL"]}:
            faults.append(f"{name} may gain privileges")
    return faults


def images(tree: Tree) -> list[str]:
    """Every image is a target of the Dockerfile, by the project's version: both sides of a job run the same code."""
    chart = tree["values"]["images"]["airflow"]
    found = [(n, c["image"]) for n, c in containers(tree)]
    found.append(("values", f"{chart['repository']}:{chart['tag']}"))
    found.append(("spark-defaults.conf", tree["spark"]["spark.kubernetes.executor.container.image"]))
    ours = re.compile(rf"registry\.example/baton-(airflow|spark|ray|gpu):{re.escape(VERSION)}")
    return [f"{name}: {image} is none of version {VERSION}" for name, image in found if not ours.fullmatch(image)]


def _references(node: Any) -> Iterator[tuple[str, str | None]]:
    """Secrets that are named below a node, with the key if one is named."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("secretRef", "secretKeyRef"):
                yield value["name"], value.get("key")
            elif key == "extraEnvFrom":
                yield from _references(yaml.safe_load(value))
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def secrets(tree: Tree) -> list[str]:
    """No secret is written down; each that is named is one that ``deploy.kube_secrets`` makes, key included."""
    made, values = kube_secrets.secrets(GIVEN), tree["values"]
    faults = [f"{d['metadata']['name']} is written down" for d in tree["documents"] if d["kind"] == "Secret"]
    named = list(_references([tree["documents"], tree["executor"], values]))
    named += [
        (values.get("data", {}).get("metadataSecretName", ""), "connection"),
        (values.get("fernetKeySecretName", ""), "fernet-key"),
        (values.get("apiSecretKeySecretName", ""), "api-secret-key"),
        (values.get("jwtSecretName", ""), "jwt-secret"),
    ]
    (ray,) = [d["spec"] for d in tree["documents"] if d["kind"] == "RayCluster"]
    named.append((ray.get("authOptions", {}).get("secretName", ""), "auth_token"))
    faults += [f"nobody makes secret {n!r}, key {k}" for n, k in named if n not in made or (k and k not in made[n])]
    faults += [f"secret {name} is used by nobody" for name in made if name not in {n for n, _ in named}]
    faults += [
        f"the chart would make {what} with a default password"
        for what in ("postgresql", "redis", "createUserJob")
        if values.get(what, {}).get("enabled") is not False
    ]
    hidden = re.compile("PASSWORD|SECRET|TOKEN|FERNET|ACCESS_KEY|URI|CONN")
    open_ones = ("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", "MLFLOW_TRACKING_URI")
    for name, container in containers(tree):
        for entry in container.get("env", ()):
            if hidden.search(entry["name"]) and entry["name"] not in open_ones and "value" in entry:
                faults.append(f"{name}: {entry['name']} is written down")
    return faults


def ray(tree: Tree) -> list[str]:
    """Ray asks for its token, its head runs no work, its object store fits into shared memory, its version is ours."""
    (cluster,) = [d for d in tree["documents"] if d["kind"] == "RayCluster"]
    faults = []
    pinned = re.search(r"^ray==(.+)$", (PROJECT / "constraints.txt").read_text(), re.MULTILINE)
    if not pinned or cluster["spec"].get("rayVersion") != pinned.group(1):
        faults.append("rayVersion is none that the images have")
    if cluster["spec"].get("authOptions", {}).get("mode") != "token":
        faults.append("Ray asks for no token")
    if cluster["metadata"].get("annotations", {}).get("ray.io/overwrite-container-cmd") != "true":
        faults.append(
            "KubeRay's own command would start nodes without labels, on a directory that everybody may write to"
        )
    for name, group in ray_groups(tree).items():
        spec = group["template"]["spec"]
        role = "head" if name == "head" else "worker"
        if spec["containers"][0]["command"][-2:] != ["deploy.ray_node", role]:
            faults.append(f"{name} does not start by deploy.ray_node {role}")
        environment = {e["name"]: e.get("value") for e in spec["containers"][0]["env"]}
        shared = [v["emptyDir"]["sizeLimit"] for v in spec.get("volumes", ()) if v["name"] == "shm"]
        if not shared or int(environment["RAY_OBJECT_STORE_BYTES"]) >= int(shared[0].removesuffix("Gi")) << 30:
            faults.append(f"{name}: the object store does not fit into shared memory")
        if name != "head" and len({group["replicas"], group["minReplicas"], group["maxReplicas"]}) != 1:
            faults.append(f"{name} changes its size, which *plan* does not foresee")
    return faults


def shared(tree: Tree) -> list[str]:
    """Every container reads deploy/shared.env by the config map baton-shared, and nothing sets one of its settings again."""
    known, values = settings_of(SHARED), tree["values"]
    every = [(n, c.get("envFrom", ()), c.get("env", ())) for n, c in containers(tree)]
    every.append(("values", yaml.safe_load(values["extraEnvFrom"]), values["env"]))
    faults = [
        f"{n} does not read baton-shared" for n, f, _ in every if {"configMapRef": {"name": "baton-shared"}} not in f
    ]
    faults += [f"{n} sets {e['name']} again" for n, _, env in every for e in env if e["name"] in known]
    faults += [
        f"{d['metadata']['name']} sets {key} again"
        for d in tree["documents"]
        if d["kind"] == "ConfigMap"
        for key in d["data"]
        if key in known
    ]
    if values["executor"] != known["AIRFLOW__CORE__EXECUTOR"]:
        faults.append("the chart's executor is not that of deploy/shared.env")
    return faults


def links(tree: Tree) -> list[str]:
    """No pod gets variables by the names of services: MLFLOW_PORT would be an address, and MLflow reads it as a number."""
    specs = [*pods(tree), ("values", tree["values"])]
    return [f"{name} gets variables of services" for name, spec in specs if spec.get("enableServiceLinks") is not False]


KUBE_RULES: tuple[Callable[[Tree], list[str]], ...] = (
    schemas, limits, probes, not_root, images, secrets, ray, shared, links,
)  # fmt: skip
