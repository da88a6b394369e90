"""Charts as inline SVG, drawn by matplotlib without its own colours, fonts and links.

Colours are written as CSS variables of the page (``--ray``, ``--muted``, ``--line``), so that a chart follows the
page into dark mode and print; text stays text, for search and screen readers.
"""

import io
import re
from collections.abc import Callable
from typing import Any

from markupsafe import Markup, escape

WIDTH_INCHES, HEIGHT_INCHES = 6.0, 2.9  # 432 x 209 points
# Placeholder colours that occur nowhere else; the page's CSS variables replace them in the finished SVG.
RAY, MUTED, LINE, SPARK, THIRD, INK = (f"#01020{digit}" for digit in range(3, 9))
VARIABLES = {
    RAY: "var(--ray)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    SPARK: "var(--spark)",
    THIRD: "var(--third)",
    INK: "var(--ink)",
}


def chart(paint: Callable[[Any], None], *, label: str, name: str, height_inches: float = HEIGHT_INCHES) -> Markup:
    """A chart as an element of the page.

    Args:
        paint: draws on matplotlib's axes, in the colours above. The axes have horizontal grid lines and a base line.
        label: what the chart shows, for those who cannot see it.
        name: makes the ids of the element unique on the page.
        height_inches: at a width of ``WIDTH_INCHES``.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    out = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 11.5, "axes.unicode_minus": True}):
        figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
        axes = figure.add_subplot()
        for side in ("top", "left", "right"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(LINE)
        axes.grid(axis="y", color=LINE, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(which="both", colors=MUTED, length=0, pad=5)
        paint(axes)
        figure.savefig(
            out, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    return _inline(out.getvalue(), label, name)


def _inline(svg: str, label: str, name: str) -> Markup:
    """Matplotlib's SVG without prologue, with the page's fonts and colours, with unique ids."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r'(\bid="|"#|url\(#)', rf"\g<1>{name}-", svg)
    head = f'<svg viewBox="{_view_box(svg)}" class="chart" role="img" aria-label="{escape(label)}">'
    return Markup(re.sub(r"<svg[^>]*>", lambda _: f"{head}<title>{escape(label)}</title>", svg, count=1))


def _view_box(svg: str) -> str:
    found = re.search(r'viewBox="([^"]+)"', svg)
    assert found, "matplotlib writes a viewBox"
    return found.group(1)
