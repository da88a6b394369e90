"""Parsing, which the scheduler does again and again: quick, and without engines, network, connections, clock."""

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handoff.stages import flow
from tests.dags.dag_file import DAGS, EXPECTED, load
from tests.dags.graphs import GRAPHS, drawn

BROKEN = {
    "loaded": "import numpy\n",
    "touched": "import time\nMOMENT = time.time()\n",
    "asked": "from airflow.sdk import Variable\nVariable.get('preset')\n",
}


@pytest.fixture(scope="module", autouse=True)
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """The probe at work on every DAG and on broken copies, in a process of its own, beside this module's other tests."""
    files = [DAGS / name for name in EXPECTED]
    source = (DAGS / "batch_inference.py").read_text()
    for what, line in BROKEN.items():
        files.append(tmp_path_factory.mktemp("broken") / f"{what}.py")
        files[-1].write_text(source.replace("from datetime import", f"{line}from datetime import", 1))
    command = [sys.executable, "-m", "tests.dags.parse_probe", *map(str, files)]
    with subprocess.Popen(
        command, cwd=DAGS.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process


@pytest.fixture(scope="module")
def found(probe: subprocess.Popen[str]) -> dict[str, Any]:
    """What the probe says of each file."""
    out, errors = probe.communicate()
    assert probe.returncode == 0, errors
    told: dict[str, Any] = json.loads(out.splitlines()[-1])
    return told


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_graph_is_the_one_that_was_reviewed(name: str) -> None:
    kept = (GRAPHS / name).with_suffix(".txt").read_text()
    assert drawn(load(DAGS / name).dag) == kept, (
        f"dags/{name} changed. Remedy: if so meant, `make dag-graphs` and commit"
    )


def test_every_graph_has_its_dag() -> None:
    assert {p.stem for p in GRAPHS.glob("*.txt")} == {Path(n).stem for n in EXPECTED}


def test_airflow_finds_the_same_dags() -> None:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(DAGS))
    assert bag.import_errors == {} and set(bag.dags) == set(EXPECTED.values())


def test_the_flow_of_each_dag_is_that_of_its_stages() -> None:
    """Tasks carry the names of the stages whose records they leave; the question to a person and the empty first one leave none."""
    for name in EXPECTED:
        dag = load(DAGS / name).dag
        tasks = [t.task_id for t in dag.topological_sort()]
        assert [t for t in tasks if t not in ("begin", "approve")] == list(flow(dag.get_task("plan").flow))
        for before, after in itertools.pairwise(tasks):
            assert after in dag.get_task(before).downstream_task_ids


@pytest.mark.parametrize("what", ["loaded", "touched", "asked"])
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_parsing_touches_nothing(name: str, what: str, found: dict[str, Any]) -> None:
    told = {"loaded": "loads", "touched": "looks at clock or network", "asked": "asks for"}[what]
    assert found[name][what] == [], f"dags/{name} {told} {found[name][what]} when parsed. Remedy: do it inside the task"


@pytest.mark.parametrize("what", sorted(BROKEN))
def test_the_probe_notices(what: str, found: dict[str, Any]) -> None:
    assert found[f"{what}.py"][what], f"a DAG file with {BROKEN[what]!r} went unnoticed"


def test_parse_times_are_told(found: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Measured, not judged: other work on the machine would decide. What makes it slow, imports, is judged above."""
    with capsys.disabled():
        for name in EXPECTED:
            print(f"\ndags/{name} parses in {found[name]['seconds']:.2f} s over Airflow's own import", end="")
        print()
