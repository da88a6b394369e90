"""Line charts as inline SVG, drawn by matplotlib without its own colours, fonts and links.

Colours are written as CSS variables of the page (``--ray``, ``--muted``, ``--line``), so that a chart follows the
page into dark mode and print; text stays text, for search and screen readers.
"""

import io
import math
import re
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from handoff.facts import PredictionFacts, Step

MOST_POINTS = 400  # more are not distinguishable at the width of the page
WIDTH_INCHES, HEIGHT_INCHES = 6.0, 2.9  # 432 x 209 points
# Placeholder colours that occur nowhere else; the page's CSS variables replace them in the finished SVG.
RAY, MUTED, LINE = "#010203", "#010204", "#010205"
VARIABLES = {RAY: "var(--ray)", MUTED: "var(--muted)", LINE: "var(--line)"}


def loss_chart(steps: Sequence[Step]) -> Markup | None:
    """Training loss over optimizer steps, with its running mean; None where fewer than two steps have a loss."""
    points = [(s.step, s.loss) for s in steps if s.loss is not None]
    return _chart(points, title="Training loss", unit="cross-entropy per token", name="loss", from_zero=False)


def speed_chart(steps: Sequence[Step]) -> Markup | None:
    """Tokens per second over optimizer steps; None where fewer than two steps have a rate."""
    points = [(s.step, s.tokens_per_second) for s in steps if s.tokens_per_second is not None]
    return _chart(points, title="Training speed", unit="tokens per second", name="speed", from_zero=True)


def throughput_chart(facts: PredictionFacts) -> Markup | None:
    """Tokens per second over the time in which prompts were answered; None where fewer than two intervals are known."""
    width = (facts.seconds or 0.0) / max(len(facts.throughput), 1)
    points = [((n + 0.5) * width, speed) for n, speed in enumerate(facts.throughput)]
    return _chart(
        points,
        title="Throughput",
        unit="tokens per second",
        name="throughput",
        from_zero=True,
        x="seconds of answering",
    )


def thin(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """At most ``most`` points: the means of equal runs of neighbours, so that no region is left out."""
    width = steps_per_point(len(points), most)
    runs = [points[i : i + width] for i in range(0, len(points), width)]
    return [(sum(x for x, _ in r) / len(r), sum(y for _, y in r) / len(r)) for r in runs]


def steps_per_point(steps: int, most: int = MOST_POINTS) -> int:
    """Number of steps that one point of a chart represents."""
    return math.ceil(steps / most)


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Mean of each value and up to ``window - 1`` before it."""
    return [sum(part := values[max(0, i + 1 - window) : i + 1]) / len(part) for i in range(len(values))]


def _chart(
    points: Sequence[tuple[float, float]],
    *,
    title: str,
    unit: str,
    name: str,
    from_zero: bool,
    x: str = "optimizer step",
) -> Markup | None:
    if len(points) < 2:
        return None
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    xs, ys = zip(*thin(points), strict=True)
    mean = running_mean(ys, max(1, len(ys) // 10))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 11.5, "axes.unicode_minus": True}):
        figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
        axes = figure.add_subplot()
        _dress(axes, from_zero)
        axes.plot(xs, ys, color=RAY, linewidth=1.1, alpha=0.35)
        axes.plot(xs, mean, color=RAY, linewidth=2.2)
        axes.set_xlabel(x, color=MUTED)
        axes.set_xlim(xs[0], xs[-1])
        axes.margins(y=0.08)
        if from_zero:
            axes.set_ylim(bottom=0, top=1.15 * max(ys))
        out = io.StringIO()
        figure.savefig(
            out, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    trend = f"{title} in {unit}, {len(points)} points: from {ys[0]:.3g} to {mean[-1]:.3g}, lowest {min(ys):.3g}"
    return _inline(out.getvalue(), trend, name)


def _dress(axes: Any, from_zero: bool) -> None:
    """Horizontal grid lines, a base line, and nothing else."""
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, length=0, pad=5)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    if from_zero:
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _inline(svg: str, label: str, name: str) -> Markup:
    """Matplotlib's SVG as an element of the page: without prologue, with the page's fonts and colours, with unique ids."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r'(\bid="|"#|url\(#)', rf"\g<1>{name}-", svg)
    head = f'<svg viewBox="{_view_box(svg)}" class="chart" role="img" aria-label="{escape(label)}">'
    return Markup(re.sub(r"<svg[^>]*>", f"{head}<title>{escape(label)}</title>", svg, count=1))


def _view_box(svg: str) -> str:
    found = re.search(r'viewBox="([^"]+)"', svg)
    assert found, "matplotlib writes a viewBox"
    return found.group(1)
