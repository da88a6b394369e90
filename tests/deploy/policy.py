"""Rules for docker-compose.yaml and Dockerfile: each returns what breaks it, as one line per fault."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

Compose = dict[str, Any]
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|FERNET|ACCESS_KEY")
REQUIRED = re.compile(r"\$\{[A-Z0-9_]+:\?[^}]+\}")
ANY_VALUE = re.compile(r"\$\{([A-Z0-9_]+)(:?[-?+][^}]*)?\}")
NO_SECRETS = ("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", "POSTGRES_USER")


def services(compose: Compose) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from compose["services"].items()


def ports(compose: Compose) -> list[str]:
    """Without a profile only the UI's port is published, and every port on 127.0.0.1 alone."""
    faults = []
    for name, service in services(compose):
        for port in service.get("ports", ()):
            if not str(port).startswith("127.0.0.1:"):
                faults.append(f"{name} publishes {port} on every address")
            if name != "airflow-api-server" and not service.get("profiles"):
                faults.append(f"{name} publishes {port}; only the UI may")
        if service.get("network_mode"):
            faults.append(f"{name} has network_mode {service['network_mode']}")
    return faults


def networks(compose: Compose) -> list[str]:
    """Every service is on the internal network, and that has no way out."""
    faults = [] if (compose["networks"].get("inside") or {}).get("internal") else ["network inside is not internal"]
    return faults + [f"{n} is not on inside" for n, s in services(compose) if "inside" not in s.get("networks", ())]


def secrets(compose: Compose) -> list[str]:
    """Every secret comes from .env and has no default: compose refuses to start without it."""
    faults = []
    for name, service in services(compose):
        for key, value in (service.get("environment") or {}).items():
            for variable, rest in ANY_VALUE.findall(str(value)):
                if SECRET.search(variable) and not (rest or "").startswith(":?"):
                    faults.append(f"{name}: {variable} in {key} has a default or may be empty")
            if SECRET.search(key) and key not in NO_SECRETS and not REQUIRED.search(str(value)):
                faults.append(f"{name}: {key} is written down")
            if re.search(r"://[^:/@]+:(?!\$\{)[^@]+@", str(value)) or re.search(r'"password": "(?!\$\{)', str(value)):
                faults.append(f"{name}: {key} holds a password")
        for part in service.get("command") or ():
            if any(SECRET.search(variable) for variable, _ in ANY_VALUE.findall(str(part))):
                faults.append(f"{name}: a secret on the command line, which every process list shows")
    return faults


def health(compose: Compose) -> list[str]:
    """Every service that goes on has a health check; those that others wait for are waited for by condition."""
    faults = []
    for name, service in services(compose):
        check = service.get("healthcheck") or {}
        if service.get("restart") == "no":
            continue
        if not check.get("test") or not {"interval", "timeout", "retries", "start_period"} <= check.keys():
            faults.append(f"{name} has no whole health check")
    for name, service in services(compose):
        depends = service.get("depends_on") or {}
        if isinstance(depends, list):
            faults.append(f"{name} waits for the start of {', '.join(depends)}, not for their health")
            continue
        for other, how in depends.items():
            ends = compose["services"][other].get("restart") == "no"
            wanted = "service_completed_successfully" if ends else "service_healthy"
            if how.get("condition") != wanted:
                faults.append(f"{name} waits for {other} with {how.get('condition')}, not {wanted}")
    return faults


def limits(compose: Compose) -> list[str]:
    """Every service has limits of CPU and memory."""
    faults = []
    for name, service in services(compose):
        limit = service.get("deploy", {}).get("resources", {}).get("limits", {})
        faults += [f"{name} has no limit of {what}" for what in ("cpus", "memory") if not limit.get(what)]
    return faults


def restarts(compose: Compose) -> list[str]:
    """Every service says whether it starts again, and rotates its log."""
    faults = [
        f"{n} has no restart policy" for n, s in services(compose) if s.get("restart") not in ("no", "unless-stopped")
    ]
    return faults + [
        f"{n}: its log grows without limit"
        for n, s in services(compose)
        if "max-size" not in (s.get("logging") or {}).get("options", {})
    ]


def images(compose: Compose) -> list[str]:
    """Every image has a tag that is a version; ours take theirs from a variable."""
    faults = []
    for name, service in services(compose):
        image = service.get("image", "")
        tag = image.rsplit("/", 1)[-1].partition(":")[2]
        if "build" in service:
            if not tag:
                faults.append(f"{name}: {image} has no tag")
        elif not re.search(r"\d+\.\d+", tag):
            faults.append(f"{name}: {image} is not pinned to a version")
    return faults


def volumes(compose: Compose) -> list[str]:
    """Data lie in named volumes; what is mounted from this checkout is read-only."""
    named = set(compose["volumes"])
    faults = []
    for name, service in services(compose):
        for mount in service.get("volumes") or ():
            source, _, rest = str(mount).partition(":")
            if source.startswith((".", "/")) and not rest.endswith(":ro"):
                faults.append(f"{name} may write to {source} of this machine")
            if not source.startswith((".", "/")) and source not in named:
                faults.append(f"{name}: volume {source} is not declared")
    return faults


def ray(compose: Compose) -> list[str]:
    """Ray asks for its token on every side, its object store fits into shared memory, and nodes reach each other."""
    faults = []
    for name, service in services(compose):
        if not name.startswith("ray-"):
            continue
        if "RAY_AUTH_TOKEN" not in service["environment"] or "deploy/shared.env" not in service["env_file"]:
            faults.append(f"{name} runs without a token, or without deploy/shared.env")
        store = int(ANY_VALUE.sub(lambda m: m.group(2)[2:], service["environment"]["RAY_OBJECT_STORE_BYTES"]))
        if store > int(str(service.get("shm_size", "64m")).rstrip("m")) << 20:
            faults.append(f"{name}: the object store is larger than shm_size")
        inside = service["networks"]["inside"] if isinstance(service["networks"], dict) else {}
        if len(service["networks"]) > 1 and service["environment"].get("RAY_NODE_NAME") not in inside.get(
            "aliases", ()
        ):
            faults.append(f"{name} may tell other nodes an address that they do not reach")
    return faults


def shared(compose: Compose) -> list[str]:
    """No service repeats a setting of deploy/shared.env: a second copy would drift."""
    from orchestration.services import SHARED, settings_of

    known = settings_of(SHARED)
    ours = [(n, s) for n, s in services(compose) if "build" in s and "dashboards" not in s.get("profiles", ())]
    faults = [
        f"{n} does not read deploy/shared.env" for n, s in ours if "deploy/shared.env" not in (s.get("env_file") or ())
    ]
    return faults + [f"{n} sets {key} again" for n, s in ours for key in s["environment"] if key in known]


COMPOSE_RULES: tuple[Callable[[Compose], list[str]], ...] = (
    ports, networks, secrets, health, limits, restarts, images, volumes, ray, shared,
)  # fmt: skip


def load(text: str) -> Compose:
    return dict(yaml.safe_load(text))


def dockerfile(text: str) -> list[str]:
    """Base pinned; roles non-root, with tini, labels and health check; packages before the code; no secret in a layer."""
    faults = []
    if not re.search(r"^ARG BASE_IMAGE=\S+:\d+\.\d+\S*$", text, re.MULTILINE):
        faults.append("the base image is not pinned to a version")
    if 'ENTRYPOINT ["tini"' not in text:
        faults.append("process 1 is not tini")
    stages = {s.split()[3]: s for s in re.split(r"^(?=FROM )", text, flags=re.MULTILINE)[1:]}
    for role in ("airflow", "spark", "ray", "gpu"):
        stage = stages.get(role)
        if stage is None:
            faults.append(f"there is no target {role}")
            continue
        if re.findall(r"^USER (\w+)", stage, re.MULTILINE)[-1:] != ["baton"]:
            faults.append(f"{role} runs as root")
        for what in ("HEALTHCHECK", "org.opencontainers.image.revision", "org.opencontainers.image.title"):
            if what not in stage:
                faults.append(f"{role} has no {what}")
    for name, stage in stages.items():
        copies = stage.find("COPY . .")
        if name.endswith("-packages") and copies >= 0:
            faults.append(f"{name} copies the code: a change of it would install every package again")
        if re.search(r"^(ARG|ENV) .*(PASSWORD|TOKEN|INDEX_URL)", stage, re.MULTILINE):
            faults.append(f"{name} takes a secret as argument, which the image's history shows")
    return faults
