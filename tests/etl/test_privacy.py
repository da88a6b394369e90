"""What is personal goes, by kind; what only looks like it stays."""

from typing import Any

import pytest

from etl.config import PrivacyConfig
from etl.privacy import redact
from tests.etl.test_transforms import documents

CASES = [
    ("Write to Jane.Doe+x@mail.example.co.uk, please.", "Write to <EMAIL>, please."),
    ("a@b is no address, nor @user or me@", "a@b is no address, nor @user or me@"),
    ("Call +1 212-555-0123 or (212) 555-0123 or +49 30 901820.", "Call <PHONE> or <PHONE> or <PHONE>."),
    ("from 1590 to 1613, 11,162 lines, 2026-11-24", "from 1590 to 1613, 11,162 lines, 2026-11-24"),
    ("Card 4111 1111 1111 1111, 5500-0000-0000-0004.", "Card <CARD>, <CARD>."),
    ("Order 4111 1111 1111 1112 fails the check", "Order 4111 1111 1111 1112 fails the check"),
    ("host 192.168.0.1 and 2001:0db8:0000:0000:0000:ff00:0042:8329.", "host <IP> and <IP>."),
    ("version 1.2.3 and 1.2.3.4.5 and 300.1.1.1", "version 1.2.3 and 1.2.3.4.5 and 300.1.1.1"),
    ("key AKIAIOSFODNN7EXAMPLE!", "key <KEY>!"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\nend", "<KEY>\nend"),
    ("AKIAIOSFODNN7EXAMPLEX is longer than a key", "AKIAIOSFODNN7EXAMPLEX is longer than a key"),
]


def test_each_kind_and_what_looks_like_it(spark: Any) -> None:
    found = [r.text for r in redact(documents(spark, *(raw for raw, _ in CASES)), PrivacyConfig()).collect()]
    assert found == [expected for _, expected in CASES]


def test_only_the_configured_kinds_are_replaced(spark: Any) -> None:
    text = "me@example.com at 10.0.0.1"
    assert redact(documents(spark, text), PrivacyConfig(replace=("ip",))).first().text == "me@example.com at <IP>"
    assert redact(documents(spark, text), PrivacyConfig(replace=())).first().text == text


@pytest.mark.parametrize("run", ["a", "1", "a.", "1 ", "+1", "1.", "a@", "eyJ", "AKIA", "x-"])
def test_a_long_run_is_done_in_linear_time(spark: Any, run: str) -> None:
    assert redact(documents(spark, run * 100_000), PrivacyConfig()).first().text  # quadratic: the test times out
