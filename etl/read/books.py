"""Documents of several pages in one file: e-books (.epub) and notebooks (.ipynb)."""

import io
import json
import posixpath
import re
import zipfile
from urllib.parse import unquote

from etl.read.decoding import page_encoding
from etl.read.files import MOST_PAGE_BYTES
from etl.read.markdown import markdown_page
from etl.read.markup import Page, html_page


def epub_page(data: bytes) -> Page:
    """The chapters of an e-book in the order in which it is read (EPUB 3.3: container, package, spine)."""
    with zipfile.ZipFile(io.BytesIO(data)) as book:
        if (size := sum(member.file_size for member in book.infolist() if _is_text(member.filename))) > MOST_PAGE_BYTES:
            raise ValueError(f"its chapters have {size:,} bytes")
        container = book.read("META-INF/container.xml").decode()
        root = _attribute(_tags(container, "rootfile")[0], "full-path")
        package = book.read(root).decode()
        items = {_attribute(item, "id"): item for item in _tags(package, "item")}
        pages = []
        for reference in _tags(package, "itemref"):
            item = items[_attribute(reference, "idref")]
            if "html" in _attribute(item, "media-type") and "nav" not in _attribute(item, "properties").split():
                name = posixpath.normpath(posixpath.join(posixpath.dirname(root), unquote(_attribute(item, "href"))))
                raw = book.read(name)
                pages.append(html_page(raw.decode(page_encoding(raw, "utf-8")[0], "replace")))
    return _joined(pages)


def _is_text(name: str) -> bool:
    return re.search(r"\.(x?html?|opf|xml|ncx)$", name, re.IGNORECASE) is not None


def _tags(xml: str, name: str) -> list[str]:
    return re.findall(rf"<(?:\w+:)?{name}\s[^>]*>", xml)


def _attribute(tag: str, name: str) -> str:
    found = re.search(rf"\b{name}\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", tag)
    return (found[1] or found[2] or "").replace("&amp;", "&") if found else ""


def notebook_page(source: str) -> Page:
    """The cells of a notebook (nbformat 4, and 3): Markdown as its text, code as it stands; outputs are left out."""
    book = json.loads(source)
    cells = book["cells"] if "cells" in book else [cell for sheet in book["worksheets"] for cell in sheet["cells"]]
    pages = []
    for cell in cells:
        text = cell.get("source", cell.get("input", ""))
        text = text if isinstance(text, str) else "".join(text)
        pages.append(markdown_page(text) if cell["cell_type"] == "markdown" else Page(text.strip("\n"), 0))
    return _joined(pages)


def _joined(pages: list[Page]) -> Page:
    texts = [page.text for page in pages if page.text.strip()]
    return Page("\n\n".join(texts), sum(p.boilerplate_chars for p in pages), sum(p.swallowed for p in pages))
