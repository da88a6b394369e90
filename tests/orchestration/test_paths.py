"""A run's key is safe as a directory name and in a command line, and tells runs apart."""

import re

import pytest

from orchestration.paths import run_key


@pytest.mark.parametrize(
    "run_id",
    ["manual__2026-11-24T06:00:00+00:00", "a/../../etc/passwd", "x; rm -rf ~", "$(reboot)", "é" * 300, "..", "a\nb"],
)
def test_keys_are_plain_names(run_id: str) -> None:
    key = run_key(run_id)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,140}", key) or re.fullmatch(r"-[0-9a-f]{6}", key)
    assert ".." not in key.split("/")


def test_different_runs_have_different_keys() -> None:
    assert run_key("a:b") != run_key("a/b")
    assert run_key("plain_id-1.2") == "plain_id-1.2"
