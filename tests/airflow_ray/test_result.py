"""Results that jobs write, programs made of functions, and what a job waits for."""

import json
from collections import UserList
from typing import Any

import pytest
from airflow.sdk import task

from airflow_ray.decorator import SCRIPT_BYTES
from airflow_ray.result import RESULT_BYTES, RESULT_MARK, result
from airflow_ray.waiting import what_is_missing


@pytest.mark.parametrize("value", [None, 7, "é\n", {"a": [1, 2.5]}, []])
def test_the_last_result_line_counts(value: Any) -> None:
    log = f"{RESULT_MARK}1\nmore\n(worker) {RESULT_MARK}{json.dumps(value)}\nthe end\n"
    assert result("job", log) == value


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("a line\n", "its log's end holds no result. Remedy: let it print one line"),
        (f"{RESULT_MARK}{{'a': 1}}\n", "is no JSON .*Remedy: print"),
        (
            f'{RESULT_MARK}"{"x" * RESULT_BYTES}"\n',
            f"has {RESULT_BYTES + 2} bytes, at most {RESULT_BYTES}.*Remedy: write the",
        ),
    ],
)
def test_a_result_that_is_none_is_named(log: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        result("job", log)


def test_a_function_and_its_arguments_become_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    @task.ray(conn_id="ray_x")
    def add(first: int, *, text: str, run_id: str) -> dict:
        return {"sum": first + 1, "text": text, "run": run_id}

    operator: Any = add(1, text="it's {braces} \\ 'quotes'").operator
    python, dash, program = operator._command({"run_id": "r1"})
    assert (python, dash) == ("python", "-c")
    exec(compile(program, "job", "exec"), {})
    assert result("job", capsys.readouterr().out) == {"sum": 2, "text": "it's {braces} \\ 'quotes'", "run": "r1"}
    assert operator.xcom_result and operator.conn_id == "ray_x"


def test_the_results_of_a_mapped_task_are_sent_as_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    @task.ray
    def total(found: list[int]) -> int:
        return sum(found)

    operator: Any = total(UserList([1, 2])).operator  # type: ignore[call-arg, arg-type, attr-defined]
    exec(compile(operator._command({})[2], "job", "exec"), {})
    assert result("job", capsys.readouterr().out) == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (object(), r"arguments of one are no JSON .*Remedy"),
        ("x" * SCRIPT_BYTES, r"one and its arguments have .*Remedy"),
    ],
)
def test_arguments_that_cannot_be_sent_are_named(given: Any, message: str) -> None:
    @task.ray
    def one(given: Any) -> Any:
        return given

    operator: Any = one(given).operator  # type: ignore[call-arg, attr-defined]
    with pytest.raises(ValueError, match=message):
        operator._command({})


@pytest.mark.parametrize(
    ("asks", "nodes", "said"),
    [
        ({}, [], "asks for no resources, so Ray is setting up its environment"),
        ({"CPU": 2.0}, [{"CPU": (0.0, 2.0)}], "asks for 2 CPU, and 0 of 2 are free"),
        ({"CPU": 4.0}, [{"CPU": (2.0, 2.0)}, {"CPU": (2.0, 2.0)}], "4 CPU, and 4 of 4 are free. No node has that much"),
        ({"head": 1.0}, [{"CPU": (2.0, 2.0)}], "1 head, and 0 of 0 are free. No node has that much"),
        (
            {"CPU": 1.0},
            [{"CPU": (2.0, 2.0)}],
            "2 of 2 are free: Ray is setting up its environment, or no node has the labels",
        ),
    ],
)
def test_what_a_job_waits_for(asks: dict[str, float], nodes: list[Any], said: str) -> None:
    assert what_is_missing(asks, nodes).endswith(said) or said in what_is_missing(asks, nodes)
