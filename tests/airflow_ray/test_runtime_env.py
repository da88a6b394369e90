"""The merge of runtime environments: the operator's over the connection's, for every key that Ray knows."""

from typing import Any

import pytest
from ray.runtime_env import RuntimeEnv  # noqa: TID253

from airflow_ray.runtime_env import merge

# What Ray calls key: (the connection's, the operator's, what the job gets).
MERGED: dict[str, tuple[Any, Any, Any]] = {
    "env_vars": ({"A": "1", "B": "1"}, {"B": "2", "C": "2"}, {"A": "1", "B": "2", "C": "2"}),
    "config": (
        {"setup_timeout_seconds": 60, "eager_install": False},
        {"setup_timeout_seconds": 90},
        {"setup_timeout_seconds": 90, "eager_install": False},
    ),
    "pip": ({"packages": ["a"], "pip_check": False}, {"packages": ["b"]}, {"packages": ["b"], "pip_check": False}),
    "uv": (["a"], ["b"], ["b"]),
    "conda": ({"name": "x", "dependencies": ["a"]}, {"dependencies": ["b"]}, {"name": "x", "dependencies": ["b"]}),
    "container": ({"image": "a", "worker_path": "/w"}, {"image": "b"}, {"image": "b", "worker_path": "/w"}),
    "image_uri": ("a", "b", "b"),
    "working_dir": ("s3://a/a.zip", "s3://b/b.zip", "s3://b/b.zip"),
    "py_modules": (["s3://a/a.zip"], ["s3://b/b.zip"], ["s3://b/b.zip"]),
    "py_executable": ("python3 -X a", "python3 -X b", "python3 -X b"),
    "java_jars": (["s3://a/a.jar"], ["s3://b/b.jar"], ["s3://b/b.jar"]),
    "excludes": (["a"], ["b"], ["b"]),
    "worker_process_setup_hook": ("a.hook", "b.hook", "b.hook"),
    "_nsight": ({"t": "cuda", "o": "a"}, {"o": "b"}, {"t": "cuda", "o": "b"}),
    "_rocprof_sys": ({"env": {"A": "1"}}, {"env": {"B": "1"}}, {"env": {"A": "1", "B": "1"}}),
    "_ray_release": ("a", "b", "b"),
    "_ray_commit": ("a", "b", "b"),
    "_inject_current_ray": (True, False, False),
}


def test_every_key_that_ray_knows_is_in_the_table() -> None:
    assert set(MERGED) == RuntimeEnv.known_fields


@pytest.mark.parametrize("key", MERGED)
def test_the_operators_value_wins_and_the_connections_other_values_stay(key: str) -> None:
    ours, theirs, both = MERGED[key]
    connection, operator = {key: ours}, {key: theirs}
    assert merge(connection, operator) == {key: both}
    assert merge(connection, {}) == merge(None, connection) == connection
    assert merge(connection, {"env_vars": {"Z": "1"}})[key] == (ours if key != "env_vars" else {**ours, "Z": "1"})
    assert merge(connection, {key: None}) == {}
    assert connection == {key: ours} and operator == {key: theirs}, "a shared connection is not changed"


@pytest.mark.parametrize("chosen", [{"pip": ["b"]}, {"uv": ["b"]}, {"conda": "b"}])
@pytest.mark.parametrize("given", [{"pip": ["a"]}, {"uv": ["a"]}, {"conda": "a"}])
def test_of_pip_uv_and_conda_the_operators_is_the_only_one(given: dict[str, Any], chosen: dict[str, Any]) -> None:
    found = merge({**given, "env_vars": {"A": "1"}}, chosen)
    assert found == {**chosen, "env_vars": {"A": "1"}}
    RuntimeEnv(**found)


@pytest.mark.parametrize("image", ["image_uri", "container"])
def test_an_image_replaces_what_ray_does_not_take_beside_one(image: str) -> None:
    value = "b" if image == "image_uri" else {"image": "b"}
    connection = {"pip": ["a"], "working_dir": "s3://a/a.zip", "container": {"image": "a"}, "env_vars": {"A": "1"}}
    found = merge(connection, {image: value})
    assert found == {image: value, "env_vars": {"A": "1"}}
    RuntimeEnv(**found)


def test_a_form_and_a_list_of_one_key_are_not_mixed() -> None:
    assert merge({"pip": ["a"]}, {"pip": {"packages": ["b"]}}) == {"pip": {"packages": ["b"]}}
    assert merge({"pip": {"packages": ["a"]}}, {"pip": ["b"]}) == {"pip": ["b"]}
