"""Numbers as people read them."""

import pytest

from pages import text


def plain(value: str) -> str:
    return value.replace("\u202f", " ")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.04, "0.0 s"),
        (24.13, "24.1 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (492, "8 min 12 s"),
        (3599.6, "1 h 00 min"),
        (11100, "3 h 05 min"),
        (None, "–"),
    ],
)
def test_duration_never_shows_sixty(seconds: float | None, expected: str) -> None:
    assert plain(text.duration(seconds)) == expected


def test_ticks_are_round() -> None:
    assert [plain(text.tick(s)) for s in (0, 30, 120, 3600, 5400)] == ["0", "30 s", "2 min", "1 h", "1 h 30 min"]


def test_share_never_hides_a_few_in_many() -> None:
    assert plain(text.share(1, 1_000_000)) == "< 0.1 %"
    assert plain(text.share(0, 10)) == "0.0 %"
    assert text.share(0, 0) == "–"


@pytest.mark.parametrize(("ratio", "expected"), [(0.734, "−27 %"), (1.04, "+4 %"), (1.001, "±0 %")])
def test_change_has_a_sign(ratio: float, expected: str) -> None:
    assert plain(text.change(ratio)) == expected


def test_credentials_go_and_addresses_stay() -> None:
    assert text.without_credentials("see s3://key:se/cret@b") == "see s3://key:se/cret@b"  # a slash ends the authority
    assert text.without_credentials("at https://u:p@host/x and file:///a") == "at https://…@host/x and file:///a"


def test_one_line_is_safe_on_a_terminal() -> None:
    assert text.one_line("a\x1b[31m\n\tb\u202ec") == "a�[31m b�c"
