"""Formulas, superscripts and subscripts of pages as text: TeX between dollar signs where the page has it, else one line."""

import re
from typing import Any

TEX_TYPES = ("application/x-tex", "TeX", "LaTeX", "text/tex")
MOST_DEPTH = 200
# Stand around the content of <sup> and <sub> until it is known what follows.
SUP, SUB, NOTE, END = "\x0e\x0f\x10\x11"
_ORDINALS = "st|nd|rd|th|er|re|ère|e|ème|me|mes|lle|lles|le|o|os|a|as|es|ers|d|r|os|TM|SM|MC|MD|tm|®|™|©|º|ª"
_SCRIPT = re.compile(rf"([{SUP}{SUB}{NOTE}])([^{SUP}{SUB}{NOTE}{END}]*){END}")


def without_script_marks(text: str) -> str:
    """The text with ``^`` and ``_`` where a superscript or subscript would change a number: ``10^6``, but ``1st``, ``H2O``."""
    if END not in text:
        return text
    before = None
    while before != text:  # from the innermost on
        before, text = text, _SCRIPT.sub(_script, text)
    return re.sub(f"[{SUP}{SUB}{NOTE}{END}]", "", text)


def _script(found: re.Match[str]) -> str:
    mark, inside = found[1], found[2].strip()
    base, after = found.string[max(0, found.start() - 1) : found.start()], found.string[found.end() : found.end() + 1]
    after = after if after.isalnum() or after == "_" else ""
    if not inside or len(inside) > 40 or "\n" in inside:
        return inside
    if base == END:  # the power of what has an index
        return f"{'_' if mark == SUB else '^'}{inside if len(inside) < 3 and not after else f'{{{inside}}}'}"
    if not re.match(r"[\w)\]}'′]", base):
        return inside
    if mark == NOTE:  # a link to a note: its number is no part of a number before it
        return f"[{inside}]" if inside.isalnum() else inside
    if re.fullmatch(r"[\[(].*[\])]|[*†‡§¶°′″']+", inside):
        return inside
    if mark == SUP and re.fullmatch(_ORDINALS, inside) and (base.isdigit() or len(inside) > 1 or not inside.isalpha()):
        return inside
    if mark == SUP and inside.isalpha() and len(inside) > 2 and base.isalpha():  # an abbreviation's end
        return inside
    if mark == SUB and inside.isdigit() and not base.isdigit() and not after.isdigit():
        return inside
    sign = "^" if mark == SUP else "_"
    plain = re.fullmatch(r"[+\-−–]?[\d.]+|\w", inside) and not after
    return f"{sign}{inside}" if plain else f"{sign}{{{inside}}}"


def tex(source: str, *, display: bool = False) -> str:
    """TeX between dollar signs, once."""
    source = " ".join(source.split())
    if wrapped := re.fullmatch(r"\{\\(display|text)style\s*(.*)\}", source):
        source = wrapped[2].strip()
    source = source.removeprefix("\\displaystyle ").strip()
    if source.startswith("$") and source.endswith("$") and len(source) > 2:
        return source
    return f"$${source}$$" if display else f"${source}$"


def math_text(node: Any) -> str:
    """A ``<math>`` element as TeX, if it brings it along, else on one line: ``x^2``, ``(a)/(b)``, ``√(x)``."""
    for note in node.css("annotation"):
        if note.attributes.get("encoding") in TEX_TYPES and (source := note.text()).strip():
            return tex(source, display=node.attributes.get("display") == "block")
    if source := (node.attributes.get("alttext") or "").strip():
        return tex(source, display=node.attributes.get("display") == "block")
    return " ".join(_linear(node, 0).split())


def _linear(node: Any, depth: int) -> str:
    if node.is_text_node:
        return " ".join((node.text_content or "").split())
    tag = node.tag or ""
    if tag in ("annotation", "annotation-xml") or depth > MOST_DEPTH:
        return ""
    parts = [_linear(child, depth + 1) for child in node.iter(include_text=True)]
    parts = [part for part in parts if part]
    a, b, c = (*parts, "", "", "")[:3]
    if tag == "msup" or tag == "mover":
        return f"{_held(a)}^{_held(b, braces=True)}" if b else a
    if tag == "msub" or tag == "munder":
        return f"{a}_{_held(b, braces=True)}"
    if tag in ("msubsup", "munderover"):
        return f"{a}_{_held(b, braces=True)}^{_held(c, braces=True)}"
    if tag == "mfrac":
        return f"{_held(a)}/{_held(b)}"
    if tag == "msqrt":
        return f"√({''.join(parts)})"
    if tag == "mroot":
        return f"root({a}, {b})"
    if tag == "mtr":
        return ", ".join(parts)
    if tag == "mtable":
        return "; ".join(parts)
    if tag == "mo" and a not in ("", "(", ")", "[", "]", "{", "}", "|", ",", "!", "′", "\u2062", "\u2061"):
        return f" {a} "
    return "".join(parts).replace("\u2062", "").replace("\u2061", "")


def _held(part: str, *, braces: bool = False) -> str:
    """In brackets if it is more than one sign or number."""
    part = part.strip()
    if re.fullmatch(r"[\d.,]+|\w|[^\w\s]", part):
        return part
    return f"{{{part}}}" if braces else f"({part})"
