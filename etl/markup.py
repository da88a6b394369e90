"""The text of HTML pages and Markdown files, by Lexbor (selectolax) and markdown-it: the one part of reading in Python."""

import re
from collections.abc import Callable, Iterator

import pyarrow as pa

# Not language, or said on every page of a site.
LEFT_OUT = "head, script, style, noscript, template, svg, nav, form, button, iframe, header nav, footer"
PARAGRAPHS = "p, div, section, article, main, h1, h2, h3, h4, h5, h6, ul, ol, dl, table, blockquote, pre, figure, hr"
LINES, CELLS = "br, li, tr, dt, dd", "td, th"
_BLANK, _PARAGRAPH, _LINE = "\x1d\x1e\x1f"  # stand in the text while white space is collapsed, as browsers do


def html_text(page: str) -> str:
    """What a reader of the page reads: paragraphs with a blank line between them, items and rows on lines of their own."""
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(re.sub("[\x1d-\x1f]", "", page))
    for node in tree.css(LEFT_OUT):
        node.decompose()
    if tree.body is None:
        return ""
    for node in tree.css("pre"):
        node.insert_before(_PARAGRAPH)
        node.insert_after(_PARAGRAPH)
        node.replace_with(node.text().replace("\n", _LINE).replace(" ", _BLANK))
    for node in tree.css(PARAGRAPHS):
        node.insert_before(_PARAGRAPH)
        node.insert_after(_PARAGRAPH)
    for mark, selector in ((_LINE, LINES), (" ", CELLS)):
        for node in tree.css(selector):
            node.insert_before(mark)
    text = re.sub(r"[ \t\r\n\f]+", " ", tree.body.text())
    text = re.sub(rf"[ {_LINE}]*{_PARAGRAPH}[ {_LINE}{_PARAGRAPH}]*", "\n\n", text)
    return re.sub(rf" ?{_LINE} ?", "\n", text).replace(_BLANK, " ").strip()


def markdown_text(source: str) -> str:
    """A CommonMark text with tables, without its marks."""
    from markdown_it import MarkdownIt

    return html_text(MarkdownIt("commonmark").enable("table").render(source))


def texts_of(encoding: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """For ``mapInArrow``: batches of ``doc_id string, content binary`` to ``doc_id string, text string``.

    Raises:
        UnicodeDecodeError: in the worker, for a file that is not in the encoding.
    """

    def map_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            names = batch.column("doc_id").to_pylist()
            pages = [content.decode(encoding) for content in batch.column("content").to_pylist()]
            texts = [
                markdown_text(page) if name.endswith(".md") else html_text(page)
                for name, page in zip(names, pages, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(
                [pa.array(names, pa.string()), pa.array(texts, pa.string())], ["doc_id", "text"]
            )

    return map_batches
