"""plan finds other versions on a cluster, in one line that names both sides."""

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.ray_node import command
from handoff.errors import EngineUnavailable
from orchestration import versions
from orchestration.versions import COMMIT, PYTHON, here, label_text, ray_mismatches, spark_mismatch


class Cluster:
    """What a Ray cluster tells of itself."""

    def __init__(self, version: str, labels: dict[str, dict[str, str]]) -> None:
        self._version, self._labels = version, labels

    def version(self) -> str:
        return self._version

    def labels(self) -> dict[str, dict[str, str]]:
        return self._labels

    def get_address(self) -> str:
        return "http://ray-head:8265"


def mismatches(version: str, labels: dict[str, str], ships_code: bool = False) -> list[str]:
    cluster: Any = Cluster(version, {"10.0.0.2": here(), "10.0.0.3": labels})
    return ray_mismatches(cluster, ships_code)


@pytest.fixture(autouse=True)
def known_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "current_producer", lambda: type("Producer", (), {"commit": "757b8e4+changes"}))


def test_equal_sides_and_sides_that_tell_nothing_pass() -> None:
    assert mismatches("2.60.0", here()) == mismatches("2.60.0", {}) == []


def test_each_difference_is_one_line_with_both_sides() -> None:
    lines = mismatches("2.59.0", {PYTHON: "3.10", COMMIT: "cfb4c5e"})
    assert len(lines) == 3
    assert "2.60.0" in lines[0] and "2.59.0 at http://ray-head:8265" in lines[0]
    assert here()[PYTHON] in lines[1] and "3.10 on 10.0.0.3" in lines[1] and "10.0.0.2" not in lines[1]
    assert "757b8e4-changes" in lines[2] and "cfb4c5e on 10.0.0.3" in lines[2]


def test_the_commit_of_nodes_does_not_matter_where_jobs_bring_the_code() -> None:
    assert mismatches("2.60.0", {COMMIT: "cfb4c5e"}, ships_code=True) == []


def test_a_node_of_a_cluster_tells_its_versions() -> None:
    assert f"--labels={label_text()}" in command("worker", {"RAY_AUTH_TOKEN": "x"})
    assert f"{PYTHON}={here()[PYTHON]},{COMMIT}=757b8e4-changes" == label_text()
    with pytest.raises(ValueError, match="RAY_AUTH_TOKEN"):
        command("worker", {})


@pytest.fixture
def page() -> Iterator[str]:
    """A Spark master's page, as Spark 4.2 writes it, of the version in the path."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f'<span class="version me-3">{self.path[1:]}</span>'.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_another_spark_is_one_line_with_both_sides(page: str) -> None:
    assert spark_mismatch(f"{page}/4.2.0") is None
    line = spark_mismatch(f"{page}/4.1.1")
    assert line and "4.2.0 in Airflow" in line and f"4.1.1 at {page}" in line


def test_a_page_that_does_not_answer_is_named() -> None:
    with pytest.raises(EngineUnavailable, match=r"127\.0\.0\.1:1"):
        spark_mismatch("http://127.0.0.1:1")
