"""The text of Markdown files: CommonMark with tables, without its marks; formulas, code and numbers as they stand."""

import re
from typing import Any

from etl.read.markup import Page, html_page

# At the file's beginning: YAML between lines of three hyphens, or TOML between lines of three plus signs.
FRONT_MATTER = re.compile(r"\A(---|\+\+\+)[ \t]*\r?\n(?:(?!\1[ \t]*\r?$)[^\n]*\n)*?\1[ \t]*(?:\r?\n|\Z)", re.MULTILINE)
# As MathJax finds them in pages: one backslash, or two of which Markdown leaves one.
BRACKETS = re.compile(r"(\\\\?)(?:\(.+?\1\)|\[.+?\1\])", re.DOTALL)


def markdown_page(source: str) -> Page:
    """The text of a Markdown file; its front matter is none."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.amsmath import amsmath_plugin
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    markdown = MarkdownIt("commonmark").enable("table")
    # With blanks: what is kept as a formula and is none loses nothing but the removal of its marks.
    markdown.use(dollarmath_plugin, allow_space=True, allow_digits=False, allow_labels=False, double_inline=True)
    markdown.use(amsmath_plugin)
    markdown.inline.ruler.before("escape", "brackets", _inline_brackets)
    markdown.block.ruler.before("fence", "brackets", _block_brackets, {"alt": ["paragraph", "list", "blockquote"]})
    for name, sign in {
        "math_inline": "$",
        "math_inline_double": "$$",
        "math_block": "$$",
        "amsmath": "",
        "brackets": "",
    }.items():
        markdown.add_render_rule(name, _verbatim(sign))
    tokens = markdown.parse(FRONT_MATTER.sub("", source, count=1))
    for token in tokens:
        _keep_signs(token.children or [])
    return html_page(markdown.renderer.render(tokens, markdown.options, {}))


def _verbatim(sign: str) -> Any:
    """A rule that renders a formula as it stands, between its signs."""

    def render(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
        from markdown_it.common.utils import escapeHtml

        text = escapeHtml(f"{sign}{tokens[index].content}{sign}")
        return f"<pre>{text}</pre>" if tokens[index].block else text

    return render


def _inline_brackets(state: Any, silent: bool) -> bool:
    r"""``\(x\)``, ``\[x\]`` and the same with two backslashes, as one token."""
    if (found := BRACKETS.match(state.src, state.pos)) is None:
        return False
    if not silent:
        state.push("brackets", "", 0).content = _single(found)
    state.pos = found.end()
    return True


def _single(found: re.Match[str]) -> str:
    return found[0] if found[1] == "\\" else f"{found[0][1:-3]}{found[0][-2:]}"


def _block_brackets(state: Any, first: int, last: int, silent: bool) -> bool:
    r"""Lines from ``\[`` to ``\]``, which could look like lists and headings."""
    start = state.bMarks[first] + state.tShift[first]
    if state.src[start : start + 2] not in ("\\[", "\\\\") or state.is_code_block(first):
        return False
    end = state.eMarks[last - 1]
    found = re.compile(r"(\\\\?)\[.+?\1\][ \t]*(?=\n|\Z)", re.DOTALL).match(state.src, start, end)
    if found is None or "\n\n" in found[0]:
        return False
    if not silent:
        line = first
        while line < last - 1 and state.eMarks[line] < found.end():
            line += 1
        token = state.push("brackets", "", 0)
        token.block, token.content, token.map = True, _single(found).rstrip(), [first, line + 1]
        state.line = line + 1
    return True


def _keep_signs(tokens: list[Any]) -> None:
    """Emphasis between digits is multiplication (``2*3*4``), and its signs stay."""
    open_: list[int] = []
    for at, token in enumerate(tokens):
        if token.type in ("em_open", "strong_open"):
            open_.append(at)
        elif token.type in ("em_close", "strong_close") and open_:
            first = open_.pop()
            before = tokens[first - 1].content[-1:] if first else ""
            after = tokens[at + 1].content[:1] if at + 1 < len(tokens) else ""
            if (before + tokens[first + 1].content[:1]).isdigit() or (tokens[at - 1].content[-1:] + after).isdigit():
                for sign in (tokens[first], tokens[at]):
                    sign.type, sign.tag, sign.nesting, sign.content = "text", "", 0, sign.markup
