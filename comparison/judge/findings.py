"""The page's sentences across stages: who wins how often, where each engine loses, what was not measured."""

from collections.abc import Mapping, Sequence
from statistics import geometric_mean, median

from comparison.config import METHOD_PROCESSES, METHOD_WARM_RUNS, ComparisonConfig
from comparison.judge.outcomes import PROCESSES_FOR_INTERVAL, Outcome
from comparison.judge.verdict import EITHER, OPEN, Verdict, word
from comparison.judge.words import NAMES, STATUS, megabytes, seconds, times


def at_largest(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Of each stage, the verdict at the largest size at which a contender has a time and most contenders were measured.

    A comparison that ends in the middle has measured one of them at a size at which another one's turn never came.
    """
    ordered = sorted(verdicts, key=lambda v: (v.measured, v.megabytes))
    return list({v.stage: v for v in ordered if v.ranked}.values())


def at_common_size(verdicts: Sequence[Verdict]) -> tuple[float, list[Verdict]]:
    """The size at which most stages have a time, the largest of several, and their verdicts: sizes are not mixed."""
    timed = [v for v in verdicts if v.ranked]
    size = max({v.megabytes for v in timed}, key=lambda mb: (sum(v.megabytes == mb for v in timed), mb), default=0.0)
    return size, [v for v in timed if v.megabytes == size]


def count_sentence(verdicts: Sequence[Verdict]) -> str:
    """``Spark is faster in 9 of 12 stages, Ray in 2; 1 is too close to call.``; says what lacks where nothing is decided."""
    size, last = at_common_size([v for v in verdicts if v.stage != "chain"])
    if not last:
        return "No stage has a time."
    if all(v.winner == OPEN for v in last):
        return "Times of each engine, without a verdict."
    won = {name: sum(1 for v in last if v.winner == name) for name in ("spark", "ray")}
    first, second = sorted(won, key=lambda name: -won[name])
    close = sum(1 for v in last if v.winner == EITHER)
    stages = f"{len(last)} stage{'s' if len(last) > 1 else ''}"
    told = f"{megabytes(size)}, sessions included: " if last[0].temperature == "cold" else f"{megabytes(size)}, warm: "
    told += f"{NAMES[first]} is faster in {won[first]} of {stages}, {NAMES[second]} in {won[second] or 'none'}"
    told += f"; {close} {'are' if close > 1 else 'is'} too close to call" if close else ""
    left = sum(1 for v in last if v.winner == OPEN)
    return told + (f"; {left} without a verdict." if left else ".")


def chain_sentence(cold: Sequence[Verdict]) -> str | None:
    """Who does the whole chain fastest; None where it has no time."""
    chain = at_largest([v for v in cold if v.stage == "chain"])
    if not chain:
        return None
    verdict = chain[0]
    if verdict.winner == OPEN:
        return None
    told = {"spark": "Spark alone", "ray": "Ray alone", "relay": "the relay"}
    names = [told[o.engine] for o in verdict.ranked]
    if verdict.winner == EITHER:
        return f"The whole chain: {' and '.join(told[o.engine] for o in verdict.tied)} cannot be told apart"
    if not verdict.factor:
        ended = "came to its end" if verdict.without else "was measured"
        return f"The whole chain: only {names[0]} {ended}"
    return f"The whole chain: {names[0]} is the fastest, {names[1]} takes {times(verdict.factor)} as long"


def engine_sentences(outcomes: Sequence[Outcome], verdicts: Sequence[Verdict]) -> list[tuple[str, str]]:
    """One sentence per engine that was measured."""
    found = []
    size, last = at_common_size([v for v in verdicts if v.stage != "chain"])
    for engine in dict.fromkeys(o.engine for o in outcomes):
        mine = [o for o in outcomes if o.engine == engine]
        if engine in ("spark", "ray"):
            took_part = [v for v in last if v.winner != OPEN and (v.of(engine) or engine in v.without)]
            won = [v for v in took_part if v.winner == engine]
            told = (
                f"faster in {len(won) or 'none'} of {len(took_part)} stages at {megabytes(size)}"
                if took_part
                else "no verdict"
            )
            if factors := [v.factor for v in won if v.factor]:
                told += f", by {times(geometric_mean(factors))} on average"
            told += f"; its session starts in {seconds(_start(mine))}"
        elif engine == "relay":
            chain = [v for v in at_largest(verdicts) if v.of(engine)]
            told = f"Spark, then Ray, in the whole chain: {word(chain[0])}" if chain else "no time in the whole chain"
        else:
            took_part = [v for v in last if v.third and v.third.engine == engine]
            beaten = [v for v in took_part if v.neither]
            told = f"without an engine: faster than both in {len(beaten) or 'none'} of the {len(took_part)} stage{'' if len(took_part) == 1 else 's'} that it did"
        failed = sum(1 for o in mine if o.status not in ("ok", "loaded"))
        told += f"; {failed} of {len(mine)} cells failed." if failed else "."
        found.append((engine, told))
    return found


def _start(outcomes: Sequence[Outcome]) -> float | None:
    starts = [o.start.median for o in outcomes if o.start]
    return median(starts) if starts else None


def losses(engine: str, verdicts: Sequence[Verdict], titles: Mapping[str, str]) -> list[tuple[str, str]]:
    """Title and words of each stage in which another contender is clearly faster, or the engine has no time."""
    found: dict[str, dict[str, list[str]]] = {}
    for v in verdicts:
        stage = found.setdefault(v.stage, {})
        if v.winner == OPEN:
            continue
        if engine in v.without and v.ranked:
            stage.setdefault(f"no {v.temperature} time", []).append(f"at {megabytes(v.megabytes)}")
        elif (mine := v.of(engine)) and mine not in v.tied:
            factor = v.time(mine).median / v.time(v.ranked[0]).median
            _note(stage, v, v.ranked[0], factor)
    return _told(found, titles)


def needless(verdicts: Sequence[Verdict], titles: Mapping[str, str]) -> list[tuple[str, str]]:
    """Title and words of each stage in which one process without an engine is clearly faster than both."""
    found: dict[str, dict[str, list[str]]] = {}
    for v in verdicts:
        if v.third and v.neither:
            _note(found.setdefault(v.stage, {}), v, v.third, v.neither)
    return _told(found, titles)


def _note(stage: dict[str, list[str]], verdict: Verdict, winner: Outcome, factor: float) -> None:
    key = f"{verdict.temperature}, {NAMES[winner.engine]}"
    stage.setdefault(key, []).append(f"{times(factor)} at {megabytes(verdict.megabytes)}")


def _told(found: Mapping[str, Mapping[str, list[str]]], titles: Mapping[str, str]) -> list[tuple[str, str]]:
    """``warm, Spark 2.4× at 10 MB, 1.3× at 100 MB; cold, Spark 1.1× at 10 MB`` of each stage that has some."""
    return [
        (titles[name], "; ".join(f"{key} {', '.join(words)}" for key, words in stage.items()))
        for name, stage in found.items()
        if stage
    ]


def few_repeats(outcomes: Sequence[Outcome], config: ComparisonConfig) -> str | None:
    """Why this is a first look; None where each cell has the repeats that the method asks for."""
    timed = [o for o in outcomes if o.status == "ok"]
    processes = min((o.processes for o in timed), default=config.processes)
    runs = min((o.warm_runs for o in timed), default=config.warm_runs)
    if processes >= METHOD_PROCESSES and runs >= METHOD_WARM_RUNS and not config.first_look:
        return None
    told = (
        f"Some forms have only {processes} process{'es' if processes > 1 else ''} and {runs} warm "
        f"run{'' if runs == 1 else 's'}; the method asks for {METHOD_PROCESSES} and {METHOD_WARM_RUNS}."
    )
    if not config.defaults:
        told += " The engines' default settings were not measured."
    if processes < PROCESSES_FOR_INTERVAL:
        told += f" Fewer than {PROCESSES_FOR_INTERVAL} say too little about the spread between processes: no verdict is given."
    return told


def cannot_tell(
    outcomes: Sequence[Outcome], machine: Mapping[str, str], config: ComparisonConfig, partial: str | None
) -> list[str]:
    """What these figures say nothing about."""
    sizes = sorted({o.megabytes for o in outcomes})
    told = [
        "Clusters: one machine was measured. Shuffles went through memory and one disk, no network was between the workers.",
        f"Other sizes: nothing below {megabytes(sizes[0])} and above {megabytes(sizes[-1])} was measured."
        if len(sizes) > 1
        else f"Other sizes: all was measured at {megabytes(sizes[0])}, so there are no crossovers.",
    ]
    if machine.get("GPU", "none") == "none":
        told.append("Accelerators: there is no GPU. Training and inference ran on the CPU.")
    if any(o.stage == "chain" for o in outcomes):
        told.append(
            "Workers that die in the ETL and in the inference of the whole chain: "
            "python -m comparison.chain.faults DIRECTORY measures them, apart from this run."
        )
    if few := few_repeats(outcomes, config):
        told.append(f"Small differences: {few[0].lower()}{few[1:]}")
    if config.source is None:
        told.append("Your text: the documents were made up from a seed. Set comparison.source to measure your own.")
    if missing := [s for s in config.stages if s not in {o.stage for o in outcomes}]:
        told.append(f"Stages without a result: {', '.join(missing)}.")
    if partial:
        told.append(f"What is missing from a partial result: {partial}.")
    if kinds := sorted({STATUS[o.status] for o in outcomes if o.status != "ok"}):
        told.append(f"The time of forms that have none ({', '.join(kinds)}); each is named at its stage.")
    return told
