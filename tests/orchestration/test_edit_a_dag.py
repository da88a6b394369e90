"""What people do to DAG files: each edit ends in success or in one clear line. The snippets of docs/edit-a-dag.md work."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from handoff.manifest import now
from handoff.run_dir import RunDir, StageRecord
from handoff.stages import flow
from handoff.store import Store
from orchestration.dag_check import check, main
from orchestration.dag_file import PROJECT
from orchestration.dag_graph import drawn
from orchestration.form_fields import TRAINING
from orchestration.plan_task import RUN_DIR

DAGS = PROJECT / "dags"
SHIPPED = (DAGS / "spark_to_ray.py").read_text()
ARROWS = next(line for line in SHIPPED.splitlines() if line.startswith("    plan >> corpus"))
SNIPPETS = re.findall(r"^```python\n(.*?)^```", (PROJECT / "docs" / "edit-a-dag.md").read_text(), re.M | re.S)
MORE_NAMES = (
    "from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, CronTriggerTimetable, MultipleCronTriggerTimetable, task"
)


def snippet(word: str) -> str:
    (found,) = [text for text in SNIPPETS if word in text]
    return str(found)


def edited(*changes: tuple[str, str]) -> str:
    """``spark_to_ray.py`` with texts replaced."""
    text = SHIPPED.replace("from airflow.sdk import DAG", MORE_NAMES)
    for old, new in changes:
        assert old in text, f"{old!r} is no longer in the DAG"
        text = text.replace(old, new, 1)
    return text


def found_in(folder: Path, **files: str) -> list[str]:
    """Findings on a copy of the shipped DAG folder with some files written over or added; the paths cut to names."""
    for path in DAGS.glob("*.py"):
        (folder / path.name).write_text(path.read_text())
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return [str(finding).replace(f"{folder}/", "") for finding in check([folder]).findings]


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


FAULTS: list[tuple[str, str, str, str]] = [  # what is edited, and what is said: rule and message
    ("        doc_md=\"MLflow", "        doc_md=MLflow", "syntax", "unterminated string literal"),
    ('PRESET = "demo"', 'PRESET = "dmeo"', "parses", "unknown preset 'dmeo' (did you mean 'demo'?)"),
    ("SETTINGS: dict[str, object] = {}", 'SETTINGS = {"sorce": "/data"}', "parses", "unknown field 'sorce' (did you mean 'source'?)"),
    ("pool=RAY_POOL", "pol=RAY_POOL", "parses", "Invalid arguments were passed to RayStageOperator (task_id: train)"),
    ('SCHEDULE = "@daily"', 'SCHEDULE = "every day"', "is-valid", "Exactly 5, 6 or 7 columns has to be specified"),
    (ARROWS, f"{ARROWS}\n    predict >> corpus", "is-valid", "Cycle detected"),
    ("import DAG, ", "import BAG, ", "parses", "cannot import name 'BAG'"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "rule", "says"), FAULTS, ids=[fault[3][:30] for fault in FAULTS])
def test_a_fault_is_one_line(old: str, new: str, rule: str, says: str, tmp_path: Path) -> None:
    findings = found_in(tmp_path, spark_to_ray=edited((old, new)))
    assert len(findings) == 1, findings
    line = r"spark_to_ray\.py:(\d+): "
    assert re.match(line + f"{rule}: .*{re.escape(says)}.* Remedy: .+", findings[0]), findings[0]
    assert "\n" not in findings[0] and int(re.match(line, findings[0])[1]) > 1  # type: ignore[index]


def test_another_dag_and_the_example_are_welcome(tmp_path: Path) -> None:
    another = 'from airflow.sdk import DAG\n\nwith DAG("another", max_active_runs=4):\n    pass\n'
    assert found_in(tmp_path, another=another, own_dag=(PROJECT / "examples" / "own_dag.py").read_text()) == []


def test_a_copy_that_keeps_the_id_is_named(tmp_path: Path) -> None:
    (finding,) = found_in(tmp_path, spark_to_ray_2=SHIPPED)
    line = line_of(SHIPPED, '"spark_to_ray",') - 1
    assert finding.startswith(f"spark_to_ray_2.py:{line}: has-an-id-of-its-own") and "spark_to_ray.py holds" in finding


def test_an_own_corpus_is_two_lines(tmp_path: Path) -> None:
    name, settings = '"books",', snippet("SETTINGS").strip()
    before = next(line for line in SHIPPED.splitlines() if line.startswith("SETTINGS"))
    copy = SHIPPED.replace('"spark_to_ray",', name).replace(before, settings)
    assert sum(a != b for a, b in zip(copy.splitlines(), SHIPPED.splitlines(), strict=True)) == 2
    assert found_in(tmp_path, books=copy) == []
    (dag,) = check([tmp_path / "books.py"]).files[0].dags
    config = TRAINING.build({key: dag.params[key] for key in dag.params})
    assert config.corpus.source.uri == "/data/books/*.txt" and config.promotion.model_name == dag.dag_id == "books"


@pytest.mark.parametrize("line", snippet("SCHEDULE = ").splitlines())
def test_schedules_of_every_kind(line: str, tmp_path: Path) -> None:
    before = next(text for text in SHIPPED.splitlines() if text.startswith("SCHEDULE"))
    path = tmp_path / "spark_to_ray.py"
    path.write_text(edited((before, line)))
    done = check([path])
    assert done.findings == []
    assert drawn(done.files[0].dags[0]).startswith("spark_to_ray: schedule ")


@pytest.fixture
def run(tmp_path: Path, store: Store, tiny_corpus: Any) -> RunDir:
    """A run whose corpus is made: 64 passages to train on."""
    run = RunDir(str(tmp_path / "run"))
    run.create(store.root, {}, flow("training"))
    run.save(
        StageRecord(stage="corpus", started=now(), status="success", artifact=tiny_corpus.id, headline="64 passages")
    )
    return run


def dag_with(part: str, folder: Path) -> Any:
    folder.mkdir()
    assert found_in(folder, spark_to_ray=edited((ARROWS, textwrap.indent(part.rstrip(), "    ")))) == []
    (file,) = check([folder / "spark_to_ray.py"]).files
    return file.dags[0]


def test_an_own_task_between_stages(tmp_path: Path, run: RunDir) -> None:
    task = dag_with(snippet("def notify"), tmp_path / "dags").get_task("notify")
    assert (
        task.upstream_task_ids == {"corpus"}
        and task.downstream_task_ids == {"train", "report"}
        and task.op_args == (RUN_DIR,)
    )
    assert task.python_callable(run.uri) == "64 passages"


def test_a_branch(tmp_path: Path, run: RunDir) -> None:
    dag = dag_with(snippet("task.branch"), tmp_path / "dags")
    task = dag.get_task("enough")
    assert task.downstream_task_ids == {"train", "too_small", "report"}
    assert task.python_callable(run.uri) == "too_small"


def test_a_run_for_each_corpus(tmp_path: Path) -> None:
    assert found_in(tmp_path, all_corpora=snippet("TriggerDagRunOperator")) == []
    (file,) = check([tmp_path / "all_corpora.py"]).files
    task = file.dags[0].get_task("requests")
    for name in ("corpora/books", "corpora/laws"):
        (tmp_path / name).mkdir(parents=True)
    task.python_callable.__globals__["ROOT"] = str(tmp_path / "corpora")
    configs = [TRAINING.build(request) for request in task.python_callable()]
    assert [config.promotion.model_name for config in configs] == ["books", "laws"]
    assert file.dags[0].get_task("make").is_mapped


def test_an_own_callback(tmp_path: Path) -> None:
    own = edited(
        ("with DAG(", f"{snippet('page_me')}\n\nwith DAG("),
        ("default_args=DEFAULT_ARGS", 'default_args={**DEFAULT_ARGS, "on_failure_callback": [page_me]}'),
    )
    assert found_in(tmp_path, spark_to_ray=own) == []


BROKEN = {
    "loads": ("import matplotlib as m  # parsed\n", "loads matplotlib"),
    "clock": ("import time\nfrom time import time as t\nMOMENT = [f() for f in [t]]  # parsed\n", "calls time"),
    "asks": ("from airflow.sdk import Variable as V\nlen(V.get('preset'))  # parsed\n", "asks for the variable"),
    "network": (
        "import urllib.request as u\nfetch = u.build_opener().open\n"
        "try:\n    fetch('http://127.0.0.1:9')  # parsed\nexcept OSError:\n    pass\n",
        "calls socket",
    ),
}  # fmt: skip


def test_the_command_notices_what_parsing_touches_and_shows_graphs(tmp_path: Path) -> None:
    """In a process of its own, as a user calls it: what the rules cannot see in the source is watched."""
    for name, (lines, _) in BROKEN.items():
        text = SHIPPED.replace('"spark_to_ray",', f'"{name}",')
        (tmp_path / f"{name}.py").write_text(text.replace("from datetime import", f"{lines}from datetime import", 1))
    (tmp_path / "graphs").mkdir()
    (tmp_path / "graphs" / "gone.txt").write_text("gone: schedule None\n")
    command = [sys.executable, "-m", "orchestration.dag_check", str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr == "", done.stderr
    found = [line for line in done.stdout.splitlines() if line.startswith(f"{tmp_path}/") and "Remedy" in line]
    for name, (lines, says) in BROKEN.items():
        line = line_of((tmp_path / f"{name}.py").read_text(), "# parsed")
        own = [text for text in found if text.startswith(f"{tmp_path}/{name}.py:")]
        assert len(own) == 1 and own[0].startswith(f"{tmp_path}/{name}.py:{line}: parses-without-work"), (lines, own)
        assert says in own[0], own
    assert "-gone: schedule None" in done.stdout and "+clock: schedule 0 0 * * *" in done.stdout
    assert "3 DAGs: 4 findings" in done.stdout


def test_a_changed_graph_is_no_fault_and_one_command_keeps_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestration import dag_watch

    # The watch loads this project's modules anew, which the other tests of this process do not bear.
    monkeypatch.setattr(dag_watch, "load_watched", lambda path: (check([path]).files[0], []))
    (tmp_path / "own_dag.py").write_text((PROJECT / "examples" / "own_dag.py").read_text())
    assert main([str(tmp_path)]) == 0 and capsys.readouterr().out.startswith("1 DAG: no fault")
    assert main(["--accept", str(tmp_path)]) == 0
    assert "deliver_newest" in (tmp_path / "graphs" / "own_dag.txt").read_text()
    text = (tmp_path / "own_dag.py").read_text().replace("timedelta(hours=1)", "timedelta(hours=2)")
    (tmp_path / "own_dag.py").write_text(text)
    capsys.readouterr()
    assert main([str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "-  deliver_newest" in shown and "limit 2:00:00" in shown and "which is no fault" in shown
    with pytest.raises(SystemExit):
        main([str(tmp_path / "nowhere")])
    assert "does not exist" in capsys.readouterr().err
