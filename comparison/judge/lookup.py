"""Answers from measured cells alone: which engine, is one needed at all, does it spill, and where the hand-off should lie.

Nothing is fitted and nothing is extrapolated. A size between two measured ones is answered by both of them; a size beyond
them is refused.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from comparison.judge.outcomes import Outcome
from comparison.judge.verdict import CONTENDERS, Verdict, time_of, verdicts_of, word
from comparison.judge.words import NAMES, interval, label_of, megabytes, seconds, times
from handoff.errors import ConfigError

# Of the chain, in its order: what the relay's hand-off can lie between.
PIPELINE = (
    "clean",
    "deduplicate",
    "near_duplicates",
    "join",
    "order",
    "tokenise",
    "feed",
    "train",
    "embed",
    "generate",
)
NEAR = 3.0  # a plan is told what was measured at a size within this factor of its own


@dataclass(frozen=True)
class Cut:
    """A pipeline of measured stages, the first ones on Spark, the others on Ray, or all on one of them.

    Attributes:
        last_on_spark: name of the last stage on Spark; empty where all run on Ray.
        seconds: sessions' starts and the warm runs of each stage's fastest form, added up.
    """

    last_on_spark: str
    seconds: float


def nearest(sizes: Iterable[float], size: float) -> list[float]:
    """The measured sizes that a question is answered by: the size itself, or the ones below and above it.

    Raises:
        ConfigError: it lies beyond the measured sizes.
    """
    known = sorted(sizes)
    if size in known:
        return [size]
    if not known or not known[0] < size < known[-1]:
        there = ", ".join(map(megabytes, known)) or "nothing"
        raise ConfigError(
            f"{megabytes(size)} is not within what was measured ({there}). "
            f'Remedy: measure it (make compare FIELDS="sizes_mb={size:g}")'
        )
    return [max(s for s in known if s < size), min(s for s in known if s > size)]


def answer(outcomes: Sequence[Outcome], stage: str, size: float, scales: bool = True) -> list[str]:
    """What was measured of a stage, line by line.

    Args:
        outcomes: of one kind of machine.
        stage: a known stage's name.
        size: megabytes of text.
        scales: whether the stage's time depends on the size; else it is answered at the size it was measured at.

    Raises:
        ConfigError: the stage or the size was not measured.
    """
    mine = [o for o in outcomes if o.stage == stage and o.settings == "tuned"]
    if not mine:
        measured = ", ".join(sorted({o.stage for o in outcomes}))
        raise ConfigError(
            f"{stage} was not measured on this machine (measured: {measured}). "
            f'Remedy: make compare FIELDS="stages={stage}"'
        )
    sizes = {o.megabytes for o in mine}
    lines = []
    for one in nearest(sizes, size) if scales else sorted(sizes):
        here = [o for o in mine if o.megabytes == one]
        lines.append(f"{stage} at {megabytes(one)}, as measured:")
        for temperature in ("cold", "warm"):
            lines += [f"  {temperature}: {_verdict(v)}" for v in verdicts_of(here, temperature)]
        lines += [f"  {line}" for line in (_needed(here), _spills(here), *_failures(here)) if line]
    return lines


def _verdict(verdict: Verdict) -> str:
    ranked = [f"{label_of(o)} {interval(verdict.time(o))}" for o in verdict.ranked]
    return f"{word(verdict)}: {' · '.join(ranked)}" if ranked else word(verdict)


def _needed(outcomes: Sequence[Outcome]) -> str:
    """Whether one process without an engine does it as well, sessions included."""
    timed = [o for o in outcomes if o.status == "ok"]
    alone = min((o for o in timed if o.engine not in CONTENDERS), key=_cold, default=None)
    engine = min((o for o in timed if o.engine in CONTENDERS), key=_cold, default=None)
    if alone is None or engine is None:
        return ""
    told = (
        f"{label_of(alone)} takes {seconds(_cold(alone))} with its start, {label_of(engine)} {seconds(_cold(engine))}"
    )
    return f"an engine is {'not needed' if _cold(alone) <= _cold(engine) else 'worth it'}: {told}"


def _cold(outcome: Outcome) -> float:
    return time_of(outcome, "cold").median


def _spills(outcomes: Sequence[Outcome]) -> str:
    told = [f"{label_of(o)} {o.spilled_bytes / 1e6:,.0f} MB" for o in outcomes if o.status == "ok" and o.spilled_bytes]
    known = any(o.spilled_bytes is not None for o in outcomes)
    return f"spilled to disk: {', '.join(told)}" if told else "nothing was spilled to disk" if known else ""


def _failures(outcomes: Sequence[Outcome]) -> list[str]:
    return [f"no time: {label_of(o)}, {o.message}" for o in outcomes if o.status != "ok"]


def cuts(outcomes: Sequence[Outcome], size: float) -> list[Cut]:
    """Each place of the hand-off between the stages of the pipeline that both engines did at a size, fastest first.

    Empty where fewer than two stages were measured on both. What the hand-off itself costs (a published corpus) is not
    among the stages; the stage ``chain`` measures it.
    """
    best: dict[tuple[str, str], float] = {}
    starts: dict[str, list[float]] = {}
    for o in outcomes:
        if o.status == "ok" and o.settings == "tuned" and o.megabytes == size and o.warm and o.stage in PIPELINE:
            key = o.stage, o.engine
            best[key] = min(best.get(key, o.warm.median), o.warm.median)
            if o.start:
                starts.setdefault(o.engine, []).append(o.start.median)
    both = [name for name in PIPELINE if {(name, "spark"), (name, "ray")} <= best.keys()]
    if len(both) < 2 or not {"spark", "ray"} <= starts.keys():
        return []
    start = {engine: min(starts[engine]) for engine in ("spark", "ray")}
    found = []
    for cut in range(len(both) + 1):
        total = sum(best[name, "spark"] for name in both[:cut]) + sum(best[name, "ray"] for name in both[cut:])
        total += (start["spark"] if cut else 0) + (start["ray"] if cut < len(both) else 0)
        found.append(Cut(both[cut - 1] if cut else "", total))
    return sorted(found, key=lambda c: c.seconds)


def hand_off(outcomes: Sequence[Outcome], size: float) -> str:
    """Where the hand-off should lie at a size, in one sentence; empty where too little was measured."""
    ways = cuts(outcomes, size)
    if not ways:
        return ""
    last = max((c.last_on_spark for c in ways), key=lambda name: PIPELINE.index(name) if name else -1)
    told = {"": "all on Ray", last: "all on Spark"}
    best, *others = (
        f"{told.get(c.last_on_spark, f'Spark to {c.last_on_spark}, then Ray')} {seconds(c.seconds)}" for c in ways
    )
    return f"hand-off at {megabytes(size)}, sessions and warm runs added up: {best}; then {'; '.join(others[:2])}"


def one_line(outcomes: Sequence[Outcome], size: float) -> str:
    """What was measured of a run with this much text, for a plan: who is faster in which stage, at the nearest size."""
    verdicts = verdicts_of([o for o in outcomes if o.settings == "tuned"], "cold")
    near = min({v.megabytes for v in verdicts}, key=lambda mb: abs(mb - size), default=None)
    if near is None or not near / NEAR <= size <= near * NEAR:
        return f"engines: nothing was measured near {megabytes(size)} (make compare)"
    won: dict[str, list[str]] = {}
    for v in verdicts:
        if v.megabytes == near and v.decided and v.factor:
            won.setdefault(NAMES[v.winner], []).append(f"{v.stage} {times(v.factor)}")
    told = "; ".join(f"{name} is faster in {', '.join(names)}" for name, names in sorted(won.items()))
    return f"engines at {megabytes(near)}, sessions included: {told or 'no difference was measured'} (make advise)"
