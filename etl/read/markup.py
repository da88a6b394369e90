"""The text of HTML pages, by Lexbor (selectolax).

The boundary of an element separates words unless the element is inline (HTML Standard, section 15.3). Inline elements
are listed here, so that an unknown element cannot join words. The tree is walked once, whatever its depth.
"""

import re
from typing import Any, NamedTuple

from etl.read.formulas import END, NOTE, SUB, SUP, math_text, tex, without_script_marks

NO_LANGUAGE = frozenset(("head", "script", "style", "template", "svg"))
# Repeated on every page of a site, or part of the browser's controls. Not forms: some sites put whole pages into one.
BOILERPLATE = frozenset(["nav", "footer", "button", "select", "textarea", "datalist", "noscript", "iframe"])
MOST_BOILERPLATE = 0.5  # of a page's text: an element with more of it is the page's content
INLINE = frozenset(
    re.findall(
        r"\w+",
        "a abbr acronym audio b bdi bdo big canvas cite code data del dfn em embed font i img input ins kbd label map mark "
        "math meter nobr object output picture progress q rb rp rt rtc ruby s samp small source span strike strong sub sup "
        "time track tt u var video wbr button select textarea datalist noscript iframe area param html body",
    )
)
ITEMS = frozenset(("li", "tr", "dt", "dd", "option", "thead", "tbody", "tfoot"))
PREFORMATTED = frozenset(("pre", "listing", "xmp", "plaintext"))
# They swallow what follows up to their end.
_OPENERS = re.compile("<!--|<(script|style|title|textarea|xmp|iframe|noembed|noframes)\\b", re.IGNORECASE)
_COMMENT_END = re.compile("--!?>")
# Stand in the text while white space is collapsed, as browsers do.
_ITEM, _BLANK, _PARAGRAPH, _LINE, _TAB, _CELL = "\x1b\x1c\x1d\x1e\x1f\x12"
_KEPT = str.maketrans({"\n": _LINE, " ": _BLANK, "\t": _TAB, "\r": None})
_NOT_SHOWN = re.compile("\x1b\\[[0-?]*[ -/]*[@-~]|[\x0e-\x12\x1b-\x1f]")  # colours of terminals, and the marks below
_HIDDEN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse))", re.IGNORECASE)
_RENDERED = ("MathJax", "MathJax_Preview", "MathJax_Display", "MathJax_SVG", "MathJax_CHTML")  # beside their source


class Page(NamedTuple):
    text: str
    boilerplate_chars: int  # of text that was left out: navigation and the like, and what is hidden
    swallowed: int = 0  # characters of the source that an element or comment took in because it never ends


def html_page(source: str) -> Page:
    """What a reader of the page reads: paragraphs with a blank line between them, items and rows on lines of their own.

    Formulas are TeX between dollar signs where the page brings it along; a superscript stays apart from the number before
    it; numbered items keep their numbers.
    """
    from selectolax.lexbor import LexborHTMLParser

    odd = any(mark in source for mark in f"{_MARKS}{_BLANK}{_TAB}\x1b")
    tree = LexborHTMLParser(_NOT_SHOWN.sub("", source) if odd else source)
    if tree.body is None:
        return Page("", 0, _swallowed(source))
    walk = _Walk(tree)
    walk.run(tree.body)
    text, swallowed = _collapsed(walk.kept()), _swallowed(source)
    shown = swallowed and " ".join(source[-swallowed:].split())[-30:] in " ".join(text[-2 * swallowed :].split())
    return Page(text, walk.left_out, 0 if shown else swallowed)


def _swallowed(source: str) -> int:
    """Length of the source from a comment, script or the like on that never ends: browsers show nothing of it."""
    at = 0
    while found := _OPENERS.search(source, at):
        if found[1] is None:
            end = _COMMENT_END.search(source, found.end() - 2)
        else:
            end = re.compile(rf"</{found[1]}", re.IGNORECASE).search(source, found.end())
        if end is None:
            return len(source) - found.start()
        at = end.end()
    return 0


def _collapsed(text: str) -> str:
    text = _BREAKS.sub(_break, _WHITE_SPACE.sub(" ", text))
    text = text.replace(" \n", "\n").replace(" \t", "\t").strip()
    return without_script_marks(text.replace(_BLANK, " ").replace(_TAB, "\t").strip())


_WHITE_SPACE = re.compile(r"[ \t\r\n\f]{2,}|[\t\r\n\f]")
_BREAKS = re.compile(f"[{_ITEM}{_PARAGRAPH}{_LINE}{_CELL}][ {_ITEM}{_PARAGRAPH}{_LINE}{_CELL}]*")


def _break(found: re.Match[str]) -> str:
    marks = found[0]
    if _PARAGRAPH in marks:
        return "\n\n"
    if _ITEM in marks:
        return "\n"
    return "\n" * marks.count(_LINE) or "\t"


class _Walk:
    """One pass over a tree: pieces of text and marks, and which ranges of them are to be left out."""

    def __init__(self, tree: Any) -> None:
        self.pieces: list[str] = []
        self.left_out = 0
        self._ranges: list[tuple[int, int]] = []  # first and last piece of an element that may be left out
        self._preformatted = self._quotes = 0  # how many of these elements are open
        self._hidden = False
        self._numbers: list[tuple[int, str] | None] = []  # of the lists that are open: the next number
        self._has_tex = tree.css_first('script[type^="math/tex"]') is not None

    def run(self, root: Any) -> None:
        open_: list[tuple[Any, Any]] = []  # elements with what is to be done behind them
        node = root.child
        while node is not None:
            ends = self._enter(node)
            if ends is not None and (child := node.child) is not None:
                open_.append((node, ends))
                node = child
                continue
            if ends is not None:
                self._leave(node, ends)
            while node.next is None and open_:
                node, ends = open_.pop()
                self._leave(node, ends)
            node = node.next

    def kept(self) -> str:
        """The text without what is boilerplate; an element that holds most of the page is none, whatever its name."""
        sizes = [0]
        for piece in self.pieces:
            sizes.append(sizes[-1] + len(piece.strip(f"{_ITEM}{_PARAGRAPH}{_LINE}{_CELL}")))
        out: list[str] = []
        at = 0
        for first, last in sorted(self._ranges, key=lambda ends: (ends[0], -ends[1])):
            if first < at or sizes[last] - sizes[first] > MOST_BOILERPLATE * sizes[-1]:
                continue
            self.left_out += len(" ".join(re.sub(f"[{_MARKS}]", "", "".join(self.pieces[first:last])).split()))
            out += self.pieces[at:first]
            at = last
        return "".join(out + self.pieces[at:])

    def _enter(self, node: Any) -> tuple[str, str, int] | None:
        """What follows the element: a mark, a kind, and the place where it began; None to pass its children over."""
        if node.is_text_node:
            text = node.text_content or ""
            self.pieces.append(text.translate(_KEPT) if self._preformatted else text)
            return None
        tag = node.tag or ""
        if tag.startswith(("-", "!")) or (tag in NO_LANGUAGE and tag != "script"):
            return None
        attributes = node.attributes
        if tag == "script":
            kind = attributes.get("type") or ""
            if kind.startswith("math/tex"):
                self.pieces.append(tex(node.text(), display="display" in kind))
            return None
        if tag == "math":
            self.pieces.append(f" {math_text(node)} " if attributes.get("display") == "block" else math_text(node))
            return None
        classes = (attributes.get("class") or "").split()
        if classes and (replaced := self._formula(node, tag, classes, attributes)) is not None:
            self.pieces.append(replaced)
            return None
        start = len(self.pieces)
        kind = ""
        if (
            not self._hidden
            and _is_hidden(tag, attributes)
            and node.css_first("math, script[type^='math/tex']") is None
        ):
            kind, self._hidden = "hidden", True
        elif tag in BOILERPLATE and not (tag == "footer" and self._quotes):  # of a quotation: whom it is of
            kind = "boilerplate"
        self._quotes += tag == "blockquote"
        mark = self._mark(node, tag, attributes)
        return mark, kind, start

    def _formula(self, node: Any, tag: str, classes: list[str], attributes: dict[str, Any]) -> str | None:
        """What replaces an element that renders a formula beside its source."""
        if "katex-html" in classes:
            before = node.prev
            return "" if before is not None and "katex-mathml" in (before.attributes.get("class") or "") else None
        if self._has_tex and any(name in _RENDERED for name in classes):
            return ""
        if tag == "img" and any(name in ("latex", "tex", "mwe-math-fallback-image-inline") for name in classes):
            parent = node.parent
            return "" if parent is not None and parent.css_first("math") else tex(attributes.get("alt") or "")
        return None

    def _mark(self, node: Any, tag: str, attributes: dict[str, Any]) -> str:
        if tag == "br":
            self.pieces.append(_LINE)
            return ""
        if tag in ("sup", "sub"):
            self.pieces.append(SUB if tag == "sub" else NOTE if node.css_first("a[href]") else SUP)
            return END
        if tag in INLINE:
            return ""
        if tag in PREFORMATTED:
            self._preformatted += 1
        if tag in ("ol", "ul", "menu"):
            self._numbers.append(_first_number(attributes) if tag == "ol" else None)
        mark = _CELL if tag in ("td", "th") else _ITEM if tag in ITEMS else " " if "-" in tag else _PARAGRAPH
        self.pieces.append("" if mark == _CELL else mark)
        if tag == "li" and self._numbers and (number := self._numbers[-1]) is not None:
            value = attributes.get("value") or ""
            at = int(value) if re.fullmatch(r"-?\d{1,9}", value) else number[0]
            self.pieces.append(f"{_numeral(at, number[1])}. ")
            self._numbers[-1] = at + 1, number[1]
        return mark

    def _leave(self, node: Any, ends: tuple[str, str, int]) -> None:
        mark, kind, start = ends
        tag = node.tag
        self._quotes -= tag == "blockquote"
        if tag in PREFORMATTED:
            self._preformatted -= 1
        elif tag in ("ol", "ul", "menu"):
            self._numbers.pop()
        if mark:
            self.pieces.append(mark)
        if kind:
            self._ranges.append((start, len(self.pieces)))
            self._hidden = self._hidden and kind != "hidden"


_MARKS = f"{_ITEM}{_PARAGRAPH}{_LINE}{_CELL}{SUP}{SUB}{NOTE}{END}"


def _is_hidden(tag: str, attributes: dict[str, Any]) -> bool:
    """Whether browsers do not show an element, or it is there for the eye alone beside its text."""
    if not attributes:
        return tag == "dialog"
    return (
        ("hidden" in attributes and attributes["hidden"] != "until-found")
        or attributes.get("aria-hidden") == "true"
        or (tag == "dialog" and "open" not in attributes)
        or bool(_HIDDEN.search(attributes.get("style") or ""))
    )


def _first_number(attributes: dict[str, Any]) -> tuple[int, str] | None:
    start, kind = attributes.get("start") or "1", attributes.get("type") or "1"
    if kind not in ("1", "a", "A") or "reversed" in attributes or not re.fullmatch(r"-?\d{1,9}", start):
        return None
    return int(start), kind


def _numeral(number: int, kind: str) -> str:
    return str(number) if kind == "1" or not 1 <= number <= 26 else chr(ord(kind) + number - 1)
