"""What leaves for a cluster, by every call there is: over TLS of a private CA, with the connection's secrets and no others.

The listeners are real, their answers scripted; tests/e2e/test_ray_connection.py has a real Ray behind TLS.
"""

import asyncio
import json
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_ray.client import RayClient
from airflow_ray.cluster import Cluster
from airflow_ray.errors import RayRefused, RayUnreachable
from airflow_ray.package import pack_tracked_files
from tests.airflow_ray.tls import Listener, PrivateCa, listening, private_ca

SURROUNDINGS = "token-of-this-machine"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> PrivateCa:
    return private_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "job.py").write_text("print('x')\n")
    for command in (["init", "-q"], ["add", "job.py"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return pack_tracked_files(str(tmp_path))


def client(listener: Listener, scheme: str = "http", host: str = "127.0.0.1", **settings: Any) -> RayClient:
    settings = {
        "conn_id": "ray_x",
        "conn_type": "ray",
        "host": host,
        "port": listener.port,
        "schema": scheme,
        **settings,
    }
    if "extra" in settings:
        settings["extra"] = json.dumps(settings["extra"])
    return Cluster.from_connection(Connection(**settings)).client()


def tail(client: RayClient) -> str:
    async def read() -> str:
        return "".join([text async for text in client.tail_job_logs("j")])

    return asyncio.run(read())


def calls(archive: Path) -> dict[str, Callable[[RayClient], Any]]:
    """Every call of the client that makes a request; a new one that is missing here fails the test below."""
    from ray.job_submission import JobDetails

    details = JobDetails(type="SUBMISSION", status="SUCCEEDED", entrypoint="", job_id="01")
    return {
        "find": lambda c: c.find("j"),
        "list_jobs": lambda c: c.list_jobs(),
        "submit_once": lambda c: c.submit_once(
            entrypoint="x", submission_id="j", runtime_env={"working_dir": str(archive)}, entrypoint_num_cpus=1
        ),
        "stop_and_wait": lambda c: c.stop_and_wait("j", 5),
        "stop_job": lambda c: c.stop_job("j"),
        "wait_for_release": lambda c: c.wait_for_release(details, 0),
        "leftovers": lambda c: c.leftovers(details),
        "short_log": lambda c: c.short_log("j"),
        "log_end": lambda c: c.log_end("j", 100),
        "version": lambda c: c.version(),
        "describe": lambda c: c.describe(),
        "nodes": lambda c: c.nodes(),
        "free": lambda c: c.free(),
        "resources": lambda c: c.resources(),
        "labels": lambda c: c.labels(),
        "tail_job_logs": tail,
    }


def test_every_call_goes_over_tls_with_the_connections_ca_and_secrets_alone(
    ca: PrivateCa, archive: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password of-netrc\n")
    with listening(ca.context()) as listener, listening() as other:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", SURROUNDINGS)
        for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{other.port}")
        extra = {"verify": str(ca.ca), "headers": {"X-Team": "forecasts"}, "cookies": {"session": "abc"}}
        connected = client(listener, "https", password="the-token", extra=extra)
        all_calls = calls(archive)
        public = {name for name in vars(RayClient) if not name.startswith("_")} - {"connect"}
        assert public <= set(all_calls)
        for name, call in all_calls.items():
            before = len(listener.seen)
            call(connected)
            assert len(listener.seen) > before, name
        assert {path for path, _ in listener.seen} >= {"/api/jobs/j/logs/tail", "/api/v0/actors", "/api/v0/nodes"}
        assert listener.headers("Authorization") == {"Bearer the-token"}
        assert listener.headers("X-Team") == {"forecasts"}
        assert listener.headers("Cookie") == {"session=abc"}
        assert other.seen == []


def test_the_token_of_this_machine_is_sent_nowhere(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", SURROUNDINGS)
    with listening() as listener:
        connected = client(listener)
        for call in calls(archive).values():
            call(connected)
        assert listener.headers("Authorization") == {None}


def test_a_redirect_is_not_followed_by_any_call(archive: Path) -> None:
    with listening() as other, listening(redirect=f"http://127.0.0.1:{other.port}") as listener:
        connected = client(listener, password="the-token", extra={"headers": {"X-Key": "secret"}})
        for name, call in calls(archive).items():
            if name == "version":
                continue
            with pytest.raises(
                RayRefused, match=r"redirect to http://127.*Remedy: set host, port and scheme of connection"
            ):
                call(connected)
        assert other.seen == []


def test_an_unknown_authority_names_the_field_and_is_no_outage(ca: PrivateCa) -> None:
    with listening(ca.context()) as listener:
        with pytest.raises(RayRefused, match=r"is not trusted: .*certificate.*Remedy: set verify in connection ray_x"):
            client(listener, "https", password="t")
        assert client(listener, "https", password="t", extra={"verify": False}).version() == "2.60.0"
        assert client(listener, "https", "localhost", password="t", extra={"verify": str(ca.ca)}).version() == "2.60.0"


def test_a_port_without_tls_is_named_and_a_cut_handshake_is_an_outage() -> None:
    with listening() as listener, pytest.raises(RayRefused, match=r"speaks no TLS. Remedy: correct port or scheme"):
        client(listener, "https", password="t")
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
        with pytest.raises(RayUnreachable, match="no answer"):
            client(Listener(server.getsockname()[1]), "https", password="t")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_read_is_named(content: str | None, tmp_path: Path) -> None:
    if content:
        (tmp_path / "ca.pem").write_text(content)
    with listening() as listener, pytest.raises(RayRefused, match=r"verify names .*ca\.pem, .*Remedy: name a PEM file"):
        client(listener, extra={"verify": str(tmp_path / "ca.pem")})


def test_an_address_of_version_six() -> None:
    try:
        with listening(host="::1") as listener:
            assert (
                client(listener, host="::1")
                .describe()
                .startswith(f"Ray 2.60.0 at http://[::1]:{listener.port}: 1 node")
            )
            assert client(listener, host="[::1]").version() == "2.60.0"
    except OSError:
        pytest.skip("this machine has no ::1")


@pytest.mark.parametrize("status", [401, 403])
def test_what_is_refused_is_named(status: int) -> None:
    with listening(status=status) as listener:
        with pytest.raises(RayRefused, match=r"wants a token .* the token of this machine is never sent"):
            client(listener)
        with pytest.raises(
            RayRefused, match=r"refuses the token and the cookies .*the token as its password"
        ) as caught:
            client(listener, password="secret-token", extra={"cookies": {"a": "secret-cookie"}})
        assert "secret-" not in str(caught.value)


def test_a_proxy_without_its_ray_is_an_outage() -> None:
    with listening(status=503) as listener, pytest.raises(RayUnreachable, match="answered 503"):
        client(listener)


def test_the_end_of_a_long_log_is_read_from_a_lines_start() -> None:
    lines = [f'{n} é \\n \\\\ "{"x" * (n % 50)}"' for n in range(5000)]
    body = json.dumps({"logs": "\n".join(lines) + "\n"}).encode()
    with listening() as listener:
        connected = client(listener)
        for size in (1, 7, 1000):
            pieces = [body[at : at + size * 100] for at in range(0, len(body), size * 100)]
            connected._log_chunks = lambda job, pieces=pieces: iter(pieces)  # type: ignore[method-assign, misc]
            found = connected.log_end("j", 2000).splitlines()
            assert (
                0 < len(found) < 5000
                and found[1:] == lines[-len(found) + 1 :]
                and lines[-len(found)].endswith(found[0])
            )
            assert len("\n".join(found).encode()) >= 2000
