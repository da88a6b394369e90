"""Line charts of a training: its loss and its speed."""

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from handoff.facts import PredictionFacts, Step
from pages.svg import MUTED, RAY, chart

MOST_POINTS = 400  # more are not distinguishable at the width of the page


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
    xs, ys = zip(*thin(points), strict=True)
    mean = running_mean(ys, max(1, len(ys) // 10))

    def paint(axes: Any) -> None:
        from matplotlib.ticker import MaxNLocator, StrMethodFormatter

        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.plot(xs, ys, color=RAY, linewidth=1.1, alpha=0.35)
        axes.plot(xs, mean, color=RAY, linewidth=2.2)
        axes.set_xlabel(x, color=MUTED)
        axes.set_xlim(xs[0], xs[-1])
        axes.margins(y=0.08)
        if from_zero:
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            axes.set_ylim(bottom=0, top=1.15 * max(ys))

    trend = f"{title} in {unit}, {len(points)} points: from {ys[0]:.3g} to {mean[-1]:.3g}, lowest {min(ys):.3g}"
    return chart(paint, label=trend, name=name)
