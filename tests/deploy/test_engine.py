"""The order of a start, and what a stop leaves: with an engine that writes down what it was asked. No container starts."""

import socket
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deploy import airflow_init
from deploy import engine as engine_module
from deploy.airflow_init import wait_for_database
from deploy.engine import Engine, remove_volumes, start, stop
from deploy.ray_node import address, command


@dataclass(frozen=True)
class Recorder(Engine):
    """Services are healthy after as many looks as ``looks`` says; containers named in ``forgotten`` survive a first `down`."""

    looks: dict[str, int] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def call_compose(self, *arguments: str, profiles: Any = ()) -> None:
        self.asked.append(" ".join(a for a in arguments if a not in ("-d", "--no-deps")))

    def containers(self, service: str | None = None) -> list[str]:
        return [service] if service else list(self.forgotten)

    def state(self, container: str) -> dict[str, Any]:
        return {"Status": "exited" if container == "init" else "running", "ExitCode": 0}

    def healthy(self, container: str) -> bool:
        self.looks[container] = self.looks.get(container, 0) - 1
        return self.looks[container] < 0

    def run(self, *arguments: str, check: bool = True, quiet: bool = False) -> Any:
        self.asked.append(" ".join(arguments))
        if arguments[0] == "rm":
            self.forgotten.clear()


@pytest.fixture
def compose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that wait for nothing, one of them slow, and three that wait in a row for the other."""
    file = tmp_path / "compose.yaml"
    file.write_text("""
services:
  base: {}
  slow: {}
  init: {depends_on: {base: {}}, healthcheck: {disable: true}}
  web: {depends_on: {init: {}}}
  last: {depends_on: {web: {}, slow: {}}}
""")
    monkeypatch.setattr(engine_module, "FILE", file)
    monkeypatch.setattr(engine_module, "POLL_SECONDS", 0.0)


def test_a_service_waits_for_its_own_and_for_no_other(compose: None, capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder("engine", ("compose",), looks={"slow": 20})
    start(recorder, [])
    assert recorder.asked == ["up base slow", "up init", "up web", "up last"]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["base", "init", "web", "slow", "last"]


def test_a_service_that_never_is_healthy_ends_the_start(compose: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "HEALTHY_SECONDS", 0.05)
    monkeypatch.setattr(engine_module, "_log", lambda engine, container: f"log of {container}")
    with pytest.raises(RuntimeError, match=r"slow is not healthy after 0\.05 s; its log:\nlog of slow"):
        start(Recorder("engine", ("compose",), looks={"slow": 10**9}), [])


def test_containers_that_compose_forgets_are_removed_with_their_volumes() -> None:
    recorder = Recorder("engine", ("compose",), forgotten=["worker_3"])
    stop(recorder, "--volumes")
    assert recorder.asked == ["down --volumes", "stop --time 30 worker_3", "rm --force worker_3", "down --volumes"]
    stop(recorder)
    assert recorder.asked[4:] == ["down"]


def test_a_database_that_comes_late_is_waited_for() -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    url = f"postgresql+psycopg2://airflow:secret@127.0.0.1:{listener.getsockname()[1]}/airflow"
    with pytest.raises(OSError):
        wait_for_database(url, seconds=0)
    late = threading.Timer(0.3, listener.listen)
    late.start()
    wait_for_database(url, seconds=10)
    late.join()
    listener.close()


def test_a_ray_node_on_two_networks_tells_the_address_that_others_reach() -> None:
    environment = {"RAY_AUTH_TOKEN": "x", "RAY_NODE_NAME": "localhost"}
    assert "--node-ip-address=127.0.0.1" in command("head", environment)
    with pytest.raises(OSError):
        address("no-such-name.invalid", seconds=0)


def test_a_command_is_repeated_while_the_database_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    asked: list[tuple[str, ...]] = []

    def airflow(*arguments: str) -> str:
        asked.append(arguments)
        if len(asked) < 2:
            raise OperationalError("connect", {}, Exception("could not translate host name"))
        return "done"

    monkeypatch.setattr(airflow_init, "airflow", airflow)
    assert airflow_init.patient("db", "migrate") == "done"
    assert asked == [("db", "migrate")] * 2
    asked.clear()
    with pytest.raises(OperationalError, match="host name"):
        airflow_init.patient("db", "migrate", seconds=-1)


def test_a_volume_that_compose_has_not_made_is_removed_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore makes the volume by hand."""
    asked: list[tuple[str, ...]] = []

    def run(self: Engine, *arguments: str, **_: Any) -> "subprocess.CompletedProcess[str]":
        asked.append(arguments)
        return subprocess.CompletedProcess(arguments, 0, stdout="baton_data\nmine\nbaton_other\n")

    monkeypatch.setattr(Engine, "run", run)
    remove_volumes(Engine("podman", ()))
    assert asked == [("volume", "ls", "--quiet"), ("volume", "rm", "baton_data")]
