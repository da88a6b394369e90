"""The operator's command: a list of texts and numbers, and a clear word on anything else."""

import inspect
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_ray.arguments import arguments
from airflow_ray.operator import RayJobOperator


def test_numbers_and_paths_are_written_out() -> None:
    given = ["python", "-m", "job", "--rate", 0.5, "--epochs", 3, Path("/data/x y"), ""]
    assert arguments(given) == ["python", "-m", "job", "--rate", "0.5", "--epochs", "3", "/data/x y", ""]


@pytest.mark.parametrize("text", ["python -m job", b"python -m job", "{{ params.command }}"])
def test_a_command_line_in_one_text_is_refused_when_the_dag_file_is_read(text: Any) -> None:
    with pytest.raises(TypeError, match=r"entrypoint is .*Remedy: give a list with one argument an item"):
        RayJobOperator(task_id="job", entrypoint=text)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["python", None], r"entrypoint\[1\] is None, a NoneType, no text, path or number"),
        (["python", True], r"entrypoint\[1\] is True, a bool"),
        (["python", {"rate": 1}], r"entrypoint\[1\] is \{'rate': 1\}, a dict"),
        (["python", ["-m"]], r"entrypoint\[1\] is \['-m'\], a list"),
        (["python", b"x"], r"entrypoint\[1\] is b'x', a bytes"),
        (["python", "a\0b"], r"entrypoint\[1\] is 'a\\x00b', a str with a NUL"),
        (["python", "\ud800"], r"entrypoint\[1\] is .* half of a surrogate pair"),
        ([], "entrypoint is empty"),
        (7, "entrypoint is 7, a int"),
        ({"python"}, "entrypoint is {'python'}, a set"),
        ("python -m job", "entrypoint is 'python -m job', a str"),
    ],
)
def test_what_a_native_template_rendered_is_named(given: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message) as error:
        arguments(given)
    assert "Remedy: " in str(error.value)


def test_a_native_template_may_render_numbers() -> None:
    """Through Airflow's own native rendering, to the command that Ray is sent; a fault there is not tried again."""
    from airflow.sdk import DAG
    from airflow.sdk.exceptions import AirflowFailException

    with DAG("native", render_template_as_native_obj=True):
        task = RayJobOperator(task_id="job", entrypoint=["python", "job.py", "{{ rate }}", "{{ word }}"])
    sent: list[str] = []
    client: Any = SimpleNamespace(submit_once=lambda **job: sent.append(job["entrypoint"]))
    cluster: Any = SimpleNamespace(runtime_env=None, working_dir=None)
    work: Any = SimpleNamespace(metadata=dict)
    context: Any = {"rate": 0.5, "word": "x"}
    task.render_template_fields(context)
    task._submit(context, client, cluster, work, "job-1")
    assert sent == ["python job.py 0.5 x"]
    task.entrypoint = ["python", None]  # type: ignore[list-item]
    with pytest.raises(AirflowFailException, match=r"entrypoint\[1\] is None"):
        task._submit(context, client, cluster, work, "job-1")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"patience": 300}, r"patience is 300, a int. Remedy: give timedelta\(seconds=300\)"),
        ({"patience": timedelta(seconds=-1)}, "patience is .*Remedy: give a time from 0"),
        ({"stop_timeout": "1m"}, "stop_timeout is '1m', a str. Remedy: give a timedelta"),
        ({"poll_interval": 0}, "poll_interval is 0. Remedy: give a number above 0"),
        ({"poll_interval": timedelta(seconds=1)}, "poll_interval is .*Remedy: give a number"),
        ({"entrypoint_num_cpus": -1}, "entrypoint_num_cpus is -1. Remedy: give a number from 0"),
        ({"entrypoint_num_cpus": None}, "entrypoint_num_cpus is None"),
        ({"entrypoint_num_gpus": "two"}, "entrypoint_num_gpus is 'two'"),
        ({"entrypoint_num_gpus": True}, "entrypoint_num_gpus is True"),
        ({"entrypoint_memory": 0.5}, "entrypoint_memory is 0.5, a float. Remedy: give a whole number"),
        ({"entrypoint_memory": "4GB"}, "entrypoint_memory is '4GB'"),
        ({"entrypoint_resources": ["head"]}, r"entrypoint_resources is \['head'\], a list. Remedy: give a dictionary"),
        ({"entrypoint_resources": {"head": "x"}}, r"entrypoint_resources\['head'\] is 'x'"),
        ({"entrypoint_label_selector": {"zone": ["a"]}}, r"entrypoint_label_selector\['zone'\] is \['a'\]"),
        ({"runtime_env": "pip"}, "runtime_env is 'pip', a str. Remedy: give a dictionary"),
        ({"runtime_env": {1: 2}}, "runtime_env is {1: 2}"),
        ({"runtime_env": {"working_dir": "a"}, "working_dir": "b"}, "working_dir is given twice"),
        ({"working_dir": ""}, "working_dir is ''"),
        ({"conn_id": ""}, "conn_id is ''"),
        ({"metadata": {"a": None}}, r"metadata\['a'\] is None"),
        ({"metadata": {"dag_id": "x"}}, "metadata has 'dag_id', by which the job of a task is found"),
        ({"deferrable": "yes"}, "deferrable is 'yes'. a str. Remedy: give True or False"),
        ({"durable": 1}, "durable is 1"),
        ({"wait_for_completion": None}, "wait_for_completion is None"),
        ({"xcom_result": True, "wait_for_completion": False}, "xcom_result needs the job's end"),
        ({"no_retry_exit_codes": 2}, "no_retry_exit_codes is 2, a int. Remedy: give a list"),
        ({"no_retry_exit_codes": ["2"]}, r"no_retry_exit_codes is \['2'\]"),
        ({"no_retry_exit_codes": (0,)}, "no_retry_exit_codes is"),
    ],
)
def test_every_argument_is_checked_when_the_dag_file_is_read(given: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        RayJobOperator(task_id="job", **{"entrypoint": ["x"], **given})


def test_every_argument_that_can_be_wrong_is_in_the_table_above() -> None:
    mark = test_every_argument_is_checked_when_the_dag_file_is_read.pytestmark[0]  # type: ignore[attr-defined]
    tried = {name for given, _ in mark.args[1] for name in given} | {"entrypoint", "self", "kwargs"}
    assert set(inspect.signature(RayJobOperator.__init__).parameters) <= tried


TEMPLATES = {
    "runtime_env": {"env_vars": {"DAY": "{{ day }}"}},
    "working_dir": None,
    "entrypoint_num_cpus": "{{ cpus }}",
    "entrypoint_num_gpus": "{{ 0 }}",
    "entrypoint_memory": "{{ 1024 * 1024 }}",
    "entrypoint_resources": {"head": "{{ cpus / 2 }}"},
    "entrypoint_label_selector": {"zone": "{{ day }}"},
    "metadata": {"day": "{{ day }}"},
}


@pytest.mark.parametrize("native", [False, True])
def test_what_templates_render_is_read_and_sent(native: bool) -> None:
    from airflow.sdk import DAG

    with DAG("templates", render_template_as_native_obj=native):
        task = RayJobOperator(task_id="job", entrypoint=["x"], **TEMPLATES)  # type: ignore[arg-type]
    assert set(TEMPLATES) | {"entrypoint", "conn_id"} == set(RayJobOperator.template_fields)
    sent: dict[str, Any] = {}
    client: Any = SimpleNamespace(submit_once=lambda **job: sent.update(job))
    cluster: Any = SimpleNamespace(runtime_env={"env_vars": {"DAY": "x", "COLOUR": "blue"}}, working_dir=None)
    work: Any = SimpleNamespace(metadata=lambda: {"dag_id": "d"})
    context: Any = {"day": "2026-11-30", "cpus": 1}
    task.render_template_fields(context)
    task._submit(context, client, cluster, work, "job-1")
    assert sent == {
        "entrypoint": "x",
        "submission_id": "job-1",
        "runtime_env": {"env_vars": {"DAY": "2026-11-30", "COLOUR": "blue"}},
        "metadata": {"day": "2026-11-30", "dag_id": "d"},
        "entrypoint_num_cpus": 1,
        "entrypoint_num_gpus": 0,
        "entrypoint_memory": 1 << 20,
        "entrypoint_resources": {"head": 0.5},
        "entrypoint_label_selector": {"zone": "2026-11-30"},
    }


def test_a_template_that_renders_nonsense_fails_before_anything_is_submitted_and_is_not_tried_again() -> None:
    from airflow.sdk import DAG
    from airflow.sdk.exceptions import AirflowFailException

    with DAG("nonsense"):
        task = RayJobOperator(task_id="job", entrypoint=["x"], entrypoint_num_cpus="{{ word }}")
    context: Any = {"word": "many"}
    task.render_template_fields(context)
    with pytest.raises(AirflowFailException, match="entrypoint_num_cpus is 'many', a str"):
        task._submit(context, *(SimpleNamespace(runtime_env=None, working_dir=None) for _ in range(3)), "job-1")  # type: ignore[misc, arg-type]
