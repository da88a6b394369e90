"""Starting and stopping the local services touches nothing that is not ours."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from handoff.errors import EngineUnavailable
from orchestration.services import Services


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Services:
    monkeypatch.setenv("BATON_HOME", str(tmp_path))
    return Services()


@pytest.mark.parametrize("variable", ["BATON_UI_PORT", "BATON_RAY_PORT"])
def test_a_taken_port_is_named_before_anything_starts(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATON_HOME", str(tmp_path))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for name in ("BATON_UI_PORT", "BATON_RAY_PORT"):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                monkeypatch.setenv(name, str(free.getsockname()[1]))
        monkeypatch.setenv(variable, str(port))
        with pytest.raises(EngineUnavailable) as caught:
            Services().start()
    assert str(port) in str(caught.value) and variable in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_nothing_runs_in_a_fresh_home(services: Services) -> None:
    assert services.running() == {}
    assert services.stop() == []


def test_stop_ends_what_was_started_and_spares_a_reused_process_id(services: Services, tmp_path: Path) -> None:
    ours, other = (subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) for _ in range(2))
    created = psutil.Process(ours.pid).create_time()
    recorded = {"scheduler": (ours.pid, created), "ray": (other.pid, created - 3600)}
    (tmp_path / "services.json").write_text(json.dumps(recorded))
    try:
        assert set(services.running()) == {"scheduler"}
        assert services.stop() == ["scheduler"]
        assert ours.wait(10) is not None
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_secrets_are_for_this_user_alone_and_stay(services: Services, tmp_path: Path) -> None:
    first, second = services.environment(), services.environment()
    for name in ("AIRFLOW__API__SECRET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW_CONN_RAY_DEFAULT"):
        assert first[name] == second[name]
    for path in ("ray/token", "airflow/api-secret", "airflow/jwt-secret"):
        assert (tmp_path / path).stat().st_mode & 0o077 == 0


def test_a_connection_of_the_environment_wins(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moving to a cluster is changing two connections."""
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", "spark://spark-master:7077")
    assert services.environment()["AIRFLOW_CONN_SPARK_DEFAULT"] == "spark://spark-master:7077"
    assert "AIRFLOW_CONN_SPARK_DEFAULT" in os.environ


def test_rays_directory_is_below_one_that_nobody_else_can_enter(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray makes its own directory writable for everybody."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    option = next(part for part in services._ray_command() if part.startswith("--temp-dir="))
    private = Path(option.partition("=")[2]).parent
    assert private.parent == tmp_path and private.stat().st_mode & 0o777 == 0o700
    private.chmod(0o777)
    services._ray_command()
    assert private.stat().st_mode & 0o777 == 0o700


def test_a_link_in_the_place_of_rays_directory_is_refused(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    option = next(part for part in services._ray_command() if part.startswith("--temp-dir="))
    private = Path(option.partition("=")[2]).parent
    private.rmdir()
    (tmp_path / "elsewhere").mkdir()
    private.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EngineUnavailable, match="not this user's own"):
        services._ray_command()


def test_a_restarted_service_appends_to_its_log(services: Services) -> None:
    for words in ("--block, and then it died", "starting"):
        with services._log("ray") as log:
            log.write(words)
    text = (services.logs / "ray.log").read_text()
    assert "then it died" in text and text.count("=== started ") == 2
    assert "--block" not in services._said("ray"), "what an earlier Ray said does not tell that this one is up"


def test_the_airflow_command_talks_to_these_services(services: Services) -> None:
    environment = {**os.environ, "BATON_HOME": str(services.home)}
    command = [
        sys.executable,
        "-m",
        "orchestration.local",
        "airflow",
        "config",
        "get-value",
        "database",
        "sql_alchemy_conn",
    ]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert str(services.home) in done.stdout
