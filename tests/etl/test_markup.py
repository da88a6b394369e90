"""What a reader of a page reads is its text: no words are glued, none are lost with a form, what is left out is counted."""

import re
from pathlib import Path

import pytest

from etl.config import SourceConfig
from etl.read.files import Part, SourceFile
from etl.read.markdown import markdown_page
from etl.read.markup import Page, html_page
from etl.read.records import records
from tests.etl.page_cases import CASES, MORE, WORDS, Case


def test_what_is_taken_from_a_page() -> None:
    page = (
        "<head><title>T</title></head><body><nav>menu</nav><h1>A <b>bold</b> head</h1>\n<p>One\n two<br>three</p>"
        "<ul><li>a</li><li>b <i>c</i></li></ul><pre>x = 1\n  y</pre><script>bad()</script>"
        "<table><tr><td>1</td><td>2</td></tr></table><p>caf&eacute;</p><footer>(c)</footer>"
    )
    text = "A bold head\n\nOne two\nthree\n\na\nb c\n\nx = 1\n  y\n\n1\t2\n\ncaf\u00e9"
    assert html_page(page) == Page(text, len("menu") + len("(c)"))
    assert markdown_page("# T\n\nsee [it](http://x)\n\n- one\n- two\n").text == "T\n\nsee it\n\none\ntwo"
    assert html_page("") == Page("", 0) and html_page("a < b & c").text == "a < b & c"


@pytest.mark.parametrize("element", ["form", "nav", "footer", "noscript", "main", "center", "unheard-of"])
def test_an_element_that_holds_the_page_is_not_left_out(element: str) -> None:
    """ASP.NET puts whole pages into a form."""
    page = f"<{element}><h1>Head</h1><p>All of the article.</p><button>Go</button></{element}>"
    assert html_page(page) == Page("Head\n\nAll of the article.", len("Go"))


BLOCKS = re.findall(
    r"[\w-]+",
    "address article aside blockquote center details dialog dd div dl dt fieldset figcaption figure footer form h1 h6 "
    "header hgroup legend li main menu ol p pre search section summary table caption td th tr ul unknown my-element",
)


@pytest.mark.parametrize("tag", BLOCKS)
def test_no_element_but_inline_ones_glues_words(tag: str) -> None:
    inside = f"<{tag}>two</{tag}>"
    if tag in ("table", "caption", "tr", "td", "th"):
        inside = f"<table>{inside if tag == 'caption' else '<tr><td>two</td></tr>'}</table>"
    page = html_page(f"<p>{'a long text ' * 9}</p>one{inside}three")
    wanted = "onethree" if tag in ("footer", "dialog") else "one two three"  # an element that is left out is not there
    assert " ".join(page.text.split()).endswith(wanted), page.text


@pytest.mark.parametrize("tag", ["b", "span", "a", "em", "wbr", "font"])
def test_inline_elements_stand_within_words(tag: str) -> None:
    assert html_page(f"<p>wo<{tag}>r</{tag}>d</p>").text == "word"


def test_lines_of_preformatted_text_stay_lines() -> None:
    page = "<pre>a<br>b  <b>c\n  d</b><div>e</div><div>f</div>\tg</pre>"
    assert html_page(page).text == "a\nb  c\n  d\n\ne\n\nf\n\n\tg"


def test_whom_a_quotation_is_of_stays_and_nested_boilerplate_goes_once() -> None:
    page = (
        "<blockquote>To be<footer>Hamlet</footer></blockquote><p>and much more of the text</p>"
        "<nav>menu<nav>sub</nav></nav><footer><nav>about</nav>(c)</footer>"
    )
    text = "To be\n\nHamlet\n\nand much more of the text"
    assert html_page(page) == Page(text, len("menusub") + len("about(c)"))


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_pages_in_the_shapes_of_real_sites(tmp_path: Path, case: Case) -> None:
    name = case.name if case.name.endswith(".md") else f"{case.name}.html"
    data = case.source if isinstance(case.source, bytes) else case.source.encode()
    (tmp_path / name).write_bytes(data)
    (record,) = records(Part(SourceFile(str(tmp_path / name), name, len(data))), SourceConfig(uri="x"))
    assert record.text is not None and record.invalid == record.lost_bytes == 0
    assert WORDS in record.text
    assert [part for part in case.has if part not in record.text] == [], record.text
    assert [part for part in case.lacks if part in record.text.replace(WORDS, "").replace(MORE, "")] == [], record.text


def test_there_are_enough_pages() -> None:
    assert len(CASES) >= 60 and len({case.name for case in CASES}) == len(CASES)
