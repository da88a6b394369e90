"""What is personal goes, by kind; what only looks like it stays."""

from typing import Any

import pytest

from etl.config import PrivacyConfig
from etl.privacy import PATTERNS, redact
from tests.etl.privacy_cases import B64, CASES
from tests.etl.test_transforms import documents


def test_each_kind_and_what_looks_like_it(spark: Any) -> None:
    assert len(CASES) >= 300 and len({raw for raw, _ in CASES}) == len(CASES)
    found = redact(documents(spark, *(raw for raw, _ in CASES)), PrivacyConfig()).select("text").collect()
    pairs = zip(CASES, (row.text for row in found), strict=True)
    assert [(raw, text) for (raw, wanted), text in pairs if text != wanted] == []


def test_placeholders_of_the_source_are_not_counted_as_made(spark: Any) -> None:
    text = "<EMAIL> wrote to me@example.com and you@example.com; <KEY>"
    row = redact(documents(spark, text), PrivacyConfig()).first()
    assert (row._made_email, row._made_key, row._made_ip) == (2, 0, 0)
    assert row._personal == 2 * (len("me@example.com") - len("<EMAIL>")) + 1


def test_only_the_configured_kinds_are_replaced(spark: Any) -> None:
    text = "me@example.com at 10.0.0.1"
    assert redact(documents(spark, text), PrivacyConfig(replace=("ip",))).first().text == "me@example.com at <IP>"
    assert redact(documents(spark, text), PrivacyConfig(replace=())).first().text == text


def test_no_pattern_asks_for_word_boundaries() -> None:
    r"""``\b`` beside letters beyond ASCII is another place in Java 19 than before."""
    assert not [kind for kind, pattern in PATTERNS.items() if r"\b" in pattern]


RUNS = [
    "a",
    "1",
    "a.",
    "1 ",
    "+1",
    "1.",
    "a@",
    "eyJ",
    "AKIA",
    "x-",
    ":",
    "4",
    "a:",
    "://a:",
    "-----BEGIN PRIVATE KEY-----",
    "PuTTY-User-Key-File-2: a\n",
    f"-----BEGIN PRIVATE KEY-----\n{B64}\n",
    "tel. 1 ",
    "DE89 3704 ",
    "a@b.",
    "(1) ",
]


@pytest.mark.parametrize("run", RUNS)
def test_a_long_run_is_done_in_linear_time(spark: Any, run: str) -> None:
    assert (
        redact(documents(spark, run * (300_000 // len(run))), PrivacyConfig()).first().text
    )  # quadratic: it times out
