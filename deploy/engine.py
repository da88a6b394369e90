"""The container engine that brings the cluster up: Docker, or Podman with podman-compose where there is no Docker.

Podman's health checks are started by systemd's timers, and podman-compose leaves `condition: service_healthy` out with
Podman before 4.6. So both engines are asked service by service, in the order of `depends_on`.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parent.parent
FILE = PROJECT / "docker-compose.yaml"
NAME = "baton"
PROFILES = ("s3", "gpu", "dashboards")
HEALTHY_SECONDS = 300
POLL_SECONDS = 1.0


class NoEngine(RuntimeError):
    """No container engine answers on this machine."""


@dataclass(frozen=True)
class Engine:
    """``docker`` or ``podman`` and its compose command; ``overrides`` are further compose files."""

    command: str
    compose: tuple[str, ...]
    overrides: tuple[str, ...] = ()

    @classmethod
    def find(cls) -> "Engine":
        """
        Raises:
            NoEngine: with what was tried.
        """
        overrides = tuple(filter(None, os.environ.get("COMPOSE_OVERRIDES", "").split(",")))
        tried = []
        for command, compose in (("docker", ("docker", "compose")), ("podman", ("podman-compose",))):
            for probe in ([command, "info"], [*compose, "version"]):
                if shutil.which(probe[0]) is None or subprocess.run(probe, capture_output=True).returncode:
                    tried.append(" ".join(probe))
                    break
            else:
                return cls(command, compose, overrides)
        raise NoEngine(f"no container engine answers (failed: {', '.join(tried)})")

    def run(self, *arguments: str, check: bool = True, quiet: bool = False) -> "subprocess.CompletedProcess[str]":
        """The engine itself, such as ``run("ps")``; the output is captured."""
        done = subprocess.run([self.command, *arguments], capture_output=True, text=True)
        if check and done.returncode and not quiet:
            raise RuntimeError(f"{self.command} {' '.join(arguments)}: {(done.stderr or done.stdout).strip()[-500:]}")
        return done

    def call_compose(self, *arguments: str, profiles: Iterable[str] = PROFILES) -> None:
        """Compose, with its output in ``var/cluster.log``; without profiles named, for the services of all of them."""
        files = [part for file in (FILE, *self.overrides) for part in ("-f", str(file))]
        files += [part for profile in profiles for part in ("--profile", profile)]
        log = PROJECT / "var" / "cluster.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("a") as stream:
            done = subprocess.run([*self.compose, *files, *arguments], cwd=PROJECT, stdout=stream, stderr=stream)
        if done.returncode:
            tail = "\n".join(log.read_text(errors="replace").strip().splitlines()[-8:])
            raise RuntimeError(f"{' '.join(self.compose)} {arguments[0]} failed; the end of {log}:\n{tail}")

    def containers(self, service: str | None = None) -> list[str]:
        """Names of the containers of a service, or of all services, ended ones included."""
        labels = [f"label=com.docker.compose.project={NAME}"]
        labels += [f"label=com.docker.compose.service={service}"] if service else []
        filters = [part for label in labels for part in ("--filter", label)]
        return sorted(self.run("ps", "--all", *filters, "--format", "{{.Names}}").stdout.split())

    def state(self, container: str) -> dict[str, Any]:
        return dict(json.loads(self.run("inspect", container).stdout)[0]["State"])

    def healthy(self, container: str) -> bool:
        if self.command == "docker":
            return str(self.state(container).get("Health", {}).get("Status")) == "healthy"
        return self.run("healthcheck", "run", container, check=False).returncode == 0


def waves(services: dict[str, Any], profiles: Iterable[str] = ()) -> list[list[str]]:
    """Services of the chosen profiles in the order in which they may start: each wave depends on earlier ones only.

    Raises:
        ValueError: there is no such order.
    """
    left = {n: s for n, s in services.items() if not s.get("profiles") or set(s["profiles"]) & set(profiles)}
    done: list[list[str]] = []
    while left:
        started = {name for wave in done for name in wave}
        wave = [name for name, service in left.items() if set(service.get("depends_on") or ()) <= started]
        if not wave:
            raise ValueError(f"services depend on each other or on what does not start: {', '.join(left)}")
        done.append(wave)
        left = {name: service for name, service in left.items() if name not in wave}
    return done


def start(engine: Engine, profiles: Collection[str]) -> None:
    """Start everything, each service as soon as those that it waits for are healthy; a line per service.

    Raises:
        RuntimeError: a service ended or does not become healthy; with the end of its log.
    """
    services = yaml.safe_load(FILE.read_text())["services"]
    order = [name for wave in waves(services, profiles) for name in wave]
    begun: dict[str, float] = {}
    done: set[str] = set()
    while len(done) < len(order):
        due = [n for n in order if n not in begun and set(services[n].get("depends_on") or ()) <= done]
        if due:
            engine.call_compose("up", "-d", "--no-deps", *due, profiles=profiles)
            begun |= dict.fromkeys(due, time.monotonic())
        for service in [name for name in begun if name not in done]:
            ends = bool((services[service].get("healthcheck") or {}).get("disable"))
            if _ready(engine, service, ends):
                done.add(service)
                seconds = time.monotonic() - begun[service]
                print(f"  {service:<22} {'done' if ends else 'healthy'} after {seconds:.0f} s", flush=True)
            elif time.monotonic() - begun[service] > HEALTHY_SECONDS:
                log = _log(engine, engine.containers(service)[0])
                raise RuntimeError(f"{service} is not healthy after {HEALTHY_SECONDS} s; its log:\n{log}")
        if not due:
            time.sleep(POLL_SECONDS)


def _ready(engine: Engine, service: str, ends: bool) -> bool:
    """Whether all containers of a service are healthy, or have done their work if it is one that ends."""
    states = {name: engine.state(name) for name in engine.containers(service)}
    if failed := [n for n, s in states.items() if s["Status"] == "exited" and (s["ExitCode"] or not ends)]:
        raise RuntimeError(f"{failed[0]} ended; the end of its log:\n{_log(engine, failed[0])}")
    if ends:
        return bool(states) and all(s["Status"] == "exited" for s in states.values())
    return bool(states) and all(map(engine.healthy, states))


def stop(engine: Engine, *flags: str) -> None:
    """``compose down`` with flags such as ``--volumes``, for every container of the project."""
    engine.call_compose("down", *flags)
    if left := engine.containers():  # podman-compose forgets those that --scale added; they hold volumes and networks
        engine.run("stop", "--time", "30", *left)
        engine.run("rm", "--force", *left)
        engine.call_compose("down", *flags)


def remove_volumes(engine: Engine) -> None:
    """Remove what ``compose down --volumes`` leaves: podman-compose passes over volumes that it has not made itself."""
    declared = {f"{NAME}_{name}" for name in yaml.safe_load(FILE.read_text())["volumes"]}
    if left := sorted(declared & set(engine.run("volume", "ls", "--quiet").stdout.split())):
        engine.run("volume", "rm", *left)


def _log(engine: Engine, container: str) -> str:
    done = engine.run("logs", "--tail", "15", container, check=False)
    return (done.stdout + done.stderr).strip()
