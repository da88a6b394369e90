"""The text of HTML pages and Markdown files, by Lexbor (selectolax) and markdown-it.

The boundary of an element separates words unless the element is inline (HTML Standard, section 15.3). Inline elements
are listed here, so that an unknown element cannot join words.
"""

import re
from typing import Any, NamedTuple

NO_LANGUAGE = "head, script, style, template, svg"
# Repeated on every page of a site, or part of the browser's controls. Not forms: some sites put whole pages into one.
BOILERPLATE = "nav, footer, button, select, textarea, datalist, noscript, iframe"
MOST_BOILERPLATE = 0.5  # of a page's text: an element with more of it is the page's content
INLINE = frozenset(
    re.findall(
        r"\w+",
        "a abbr acronym audio b bdi bdo big canvas cite code data del dfn em embed font i img input ins kbd label map mark "
        "math meter nobr object output picture progress q rb rp rt rtc ruby s samp small source span strike strong sub sup "
        "time track tt u var video wbr button select textarea datalist noscript iframe area param html body",
    )
)
ITEMS, CELLS = ("li", "tr", "dt", "dd", "option"), ("td", "th")
PREFORMATTED = "pre, listing, xmp, plaintext"
_ITEM, _BLANK, _PARAGRAPH, _LINE, _TAB = (
    "\x1b\x1c\x1d\x1e\x1f"  # stand in the text while white space is collapsed, as browsers do
)


class Page(NamedTuple):
    text: str
    boilerplate_chars: int  # of text that was left out


def html_page(source: str) -> Page:
    """What a reader of the page reads: paragraphs with a blank line between them, items and rows on lines of their own."""
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(re.sub("[\x1b-\x1f]", "", source))
    _remove(tree.css(NO_LANGUAGE))
    if tree.body is None:
        return Page("", 0)
    boilerplate = _boilerplate(tree)
    left_out = sum(len(" ".join(node.text().split())) for node in boilerplate)
    for node in boilerplate:
        node.decompose()
    for node in tree.css(PREFORMATTED):
        for inner in [*node.traverse(include_text=True)]:
            if inner.is_text_node and inner.text_content:
                kept = inner.text_content.replace("\n", _LINE).replace(" ", _BLANK).replace("\t", _TAB)
                inner.replace_with(kept)
    for node in tree.body.css("*"):
        tag = node.tag or ""
        if tag == "br":
            node.insert_before(_LINE)
        elif tag not in INLINE:  # an element of the page's own (`my-icon`) may stand in a sentence
            mark = _ITEM if tag in ITEMS else " " if tag in CELLS or "-" in tag else _PARAGRAPH
            node.insert_before(mark)
            node.insert_after(mark)
    text = re.sub(r"[ \t\r\n\f]+", " ", tree.body.text())
    text = re.sub(rf" ?{_ITEM}[ {_ITEM}]*", _LINE, text)
    text = re.sub(rf"[ {_LINE}]*{_PARAGRAPH}[ {_LINE}{_PARAGRAPH}]*", "\n\n", text)
    text = re.sub(rf" ?{_LINE} ?", "\n", text).replace(_BLANK, " ").replace(_TAB, "\t").strip()
    return Page(text, left_out)


def _boilerplate(tree: Any) -> list[Any]:
    """The outermost elements to leave out: not one that holds most of the page, nor the source of a quotation."""
    most = MOST_BOILERPLATE * len(tree.body.text())
    quoted = {node.mem_id for node in tree.css("blockquote footer")}
    found: dict[int, Any] = {}
    for node in tree.css(BOILERPLATE):
        if node.mem_id not in quoted and len(node.text()) <= most and not _is_within(node, found):
            found[node.mem_id] = node
    return list(found.values())


def _remove(nodes: list[Any]) -> None:
    outer: dict[int, Any] = {}
    for node in nodes:
        if not _is_within(node, outer):
            outer[node.mem_id] = node
    for node in outer.values():
        node.decompose()


def _is_within(node: Any, others: dict[int, Any]) -> bool:
    while (node := node.parent) is not None:
        if node.mem_id in others:
            return True
    return False


def markdown_page(source: str) -> Page:
    """A CommonMark text with tables, without its marks."""
    from markdown_it import MarkdownIt

    return html_page(MarkdownIt("commonmark").enable("table").render(source))
