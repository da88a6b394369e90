"""The operator's command: a list of texts and numbers, and a clear word on anything else."""

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
    task.render_template_fields({"rate": 0.5, "word": "x"})  # type: ignore[typeddict-item]
    task._submit(client, cluster, work, "job-1")
    assert sent == ["python job.py 0.5 x"]
    task.entrypoint = ["python", None]  # type: ignore[list-item]
    with pytest.raises(AirflowFailException, match=r"entrypoint\[1\] is None"):
        task._submit(client, cluster, work, "job-1")
