"""``python -m deploy.kube_check``: deploy/kubernetes/ against the published schemas of KubeRay and of Airflow's chart.

They are fetched once, by tag, into ``schemas`` of BATON_HOME; files that lie there already are taken as they are. No
cluster is asked.
"""

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import yaml

from handoff.home import baton_home

FOLDER = Path(__file__).resolve().parent / "kubernetes"
RAW = "https://raw.githubusercontent.com"
KUBERAY = "ray-project/kuberay/v1.7.0/ray-operator/config/crd/bases/ray.io_rayclusters.yaml"
CHART = "apache/airflow/helm-chart/1.22.0/chart/values.schema.json"
TIMEOUT_SECONDS = 60

Tree = dict[str, Any]


def fetched(path: str, folder: Path) -> str:
    """The text of a file of GitHub, kept in a folder under its path."""
    file = folder / path
    if not file.exists():
        with urllib.request.urlopen(f"{RAW}/{path}", timeout=TIMEOUT_SECONDS) as answer:
            text = answer.read()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text)
    return file.read_text()


def strict(node: Any) -> Any:
    """The schema of a custom resource as kubectl applies it: an unknown field is a fault, a quantity text or number."""
    if isinstance(node, list):
        return [strict(value) for value in node]
    if not isinstance(node, dict):
        return node
    made = {key: strict(value) for key, value in node.items()}
    if made.get("x-kubernetes-int-or-string") is True:
        made.pop("type", None)
    elif isinstance(made.get("properties"), dict) and made.get("x-kubernetes-preserve-unknown-fields") is not True:
        made.setdefault("additionalProperties", False)
    return made


def resource_schema(definition: Tree, version: str) -> Tree:
    """Schema of a version of a custom resource, from its CustomResourceDefinition."""
    (found,) = [v["schema"]["openAPIV3Schema"] for v in definition["spec"]["versions"] if v["name"] == version]
    made: Tree = strict(found)
    made["properties"]["metadata"] = {"type": "object"}  # Kubernetes' own, which the definition does not repeat
    return made


def faults(document: Tree, schema: Tree) -> list[str]:
    """What is wrong with a document, each with its place."""
    found = jsonschema.Draft7Validator(schema).iter_errors(document)
    return [f"{'.'.join(str(part) for part in error.absolute_path)}: {error.message[:200]}" for error in found]


def main() -> int:
    folder = baton_home() / "schemas"
    checks = {
        "raycluster.yaml": resource_schema(yaml.safe_load(fetched(KUBERAY, folder)), "v1"),
        # The chart itself passes over a setting that it does not know.
        "airflow-values.yaml": {**json.loads(fetched(CHART, folder)), "additionalProperties": False},
    }
    wrong = 0
    for name, schema in checks.items():
        found = faults(yaml.safe_load((FOLDER / name).read_text()), schema)
        wrong += len(found)
        print("\n".join(f"ERROR {name}: {line}" for line in found) or f"{name}: as published")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
