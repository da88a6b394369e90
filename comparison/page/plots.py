"""The chart of a stage: time over size, both on logarithmic axes, one line per form with its intervals."""

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from comparison.judge.outcomes import Outcome
from comparison.judge.words import label_of, megabytes
from pages.svg import MUTED, RAY, SPARK, THIRD, chart

COLOURS = {"spark": SPARK, "ray": RAY}
STYLES = ("-", "--", ":", "-.")  # of an engine's forms, in their order
LABEL_APART = 0.075  # of the height of the axes


def size_chart(outcomes: Sequence[Outcome], name: str) -> Markup | None:
    """Cold time over size of the tuned forms of one stage; None where no form has a time at two sizes."""
    lines: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.status == "ok" and outcome.settings == "tuned":
            lines.setdefault(outcome.form, []).append(outcome)
    sizes = sorted({o.megabytes for line in lines.values() for o in line})
    if all(len(line) < 2 for line in lines.values()):
        return None
    spoken = "; ".join(
        f"{label_of(line[0])} {', '.join(f'{o.cold.median:.3g} s at {o.megabytes:g} MB' for o in _sorted(line) if o.cold)}"
        for line in lines.values()
    )

    def paint(axes: Any) -> None:
        seen: dict[str, int] = {}
        ends = []
        for line in lines.values():
            colour = COLOURS.get(line[0].engine, THIRD)
            style = STYLES[seen.setdefault(line[0].engine, 0) % len(STYLES)]
            seen[line[0].engine] += 1
            _line(axes, _sorted(line), colour, style)
            last = _sorted(line)[-1]
            assert last.cold
            ends.append((last.megabytes, last.cold.median, label_of(last), colour))
        _axes(axes, sizes)
        _labels(axes, ends)

    return chart(paint, label=f"Cold time over size: {spoken}", name=f"size-{name}", height_inches=3.5)


def _sorted(line: list[Outcome]) -> list[Outcome]:
    return sorted(line, key=lambda o: o.megabytes)


def _line(axes: Any, line: list[Outcome], colour: str, style: str) -> None:
    times = [o.cold for o in line if o.cold]
    xs, ys = [o.megabytes for o in line], [t.median for t in times]
    spread = [[t.median - (t.low or t.median) for t in times], [(t.high or t.median) - t.median for t in times]]
    axes.errorbar(xs, ys, yerr=spread, color=colour, linestyle="none", elinewidth=5, alpha=0.3)
    axes.plot(xs, ys, color=colour, linestyle=style, linewidth=2, marker="o", markersize=4)


def _axes(axes: Any, sizes: list[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sizes, [megabytes(s) for s in sizes])
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_ylim()
    steps = (1.0,) if high / low > 300 else (1.0, 3.0) if high / low > 10 else (1.0, 2.0, 5.0)
    axes.yaxis.set_major_locator(LogLocator(subs=steps))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}\u202fs"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("text, both axes logarithmic", color=MUTED)


def _labels(axes: Any, ends: list[tuple[float, float, str, str]]) -> None:
    """Names at the right ends of the lines, moved apart where they would overlap."""
    low, high = (math.log(y) for y in axes.get_ylim())
    at = -1.0
    for _, seconds, text, colour in sorted(ends, key=lambda end: end[1]):
        at = max((math.log(seconds) - low) / (high - low), at + LABEL_APART)
        axes.annotate(
            text, (1.01, at), xycoords="axes fraction", color=colour, va="center", annotation_clip=False, fontsize=10.5
        )
