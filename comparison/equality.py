"""Equal outputs first: forms whose output is not the one that most forms agree on show no time."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from comparison.digest import close
from comparison.form import Stage
from comparison.results import Measurement

Group = tuple[str, float]


def judged(measurements: Iterable[Measurement], stage_of: Callable[[str], Stage], kept: Path) -> list[Measurement]:
    """Measurements with ``status`` unequal and no time where a form's output is not that of the others.

    The right output is the one that most forms of a stage have at a size. Where no two agree, none is right. A form
    measured alone is compared with itself only.

    Args:
        kept: directory of the outputs of stages that are compared as floats, one per cell; see :func:`kept_output`.
    """
    measurements = list(measurements)
    groups: dict[Group, list[Measurement]] = defaultdict(list)
    for m in measurements:
        if m.status == "ok" and m.digest:
            groups[m.stage, m.megabytes].append(m)
    wrong: dict[tuple[str, float, str, str], str] = {}
    for (name, megabytes), group in groups.items():
        stage = stage_of(name)
        differing = _far(stage, group, kept) if stage.compared == "close" else _other(group)
        for (form, settings), why in differing.items():
            wrong[name, megabytes, form, settings] = why
    return [_without_time(m, wrong.get((m.stage, m.megabytes, m.form, m.settings))) for m in measurements]


def _without_time(m: Measurement, why: str | None) -> Measurement:
    return replace(m, status="unequal", seconds=None, message=why) if why and m.status == "ok" else m


def _other(group: list[Measurement]) -> dict[tuple[str, str], str]:
    """Forms (with settings) that gave another digest than most, in any run, with what they gave."""
    seen: dict[tuple[str, str], set[str]] = defaultdict(set)
    for m in group:
        assert m.digest
        seen[m.form, m.settings].add(m.digest)
    votes = Counter(digest for digests in seen.values() if len(digests) == 1 for digest in digests)
    if len({form for form, _ in seen}) == 1 and len(votes) == 1:
        return {}
    right, count = votes.most_common(1)[0] if votes else ("", 0)
    agreed = len({form for (form, _), digests in seen.items() if digests == {right}}) > 1
    tie = sum(1 for n in votes.values() if n == count) > 1
    if not agreed or tie:
        return {key: f"no two forms agree: {', '.join(sorted(digests))}" for key, digests in seen.items()}
    return {
        key: f"its output is {', '.join(sorted(digests))}, most forms' is {right}"
        for key, digests in seen.items()
        if digests != {right}
    }


def _far(stage: Stage, group: list[Measurement], kept: Path) -> dict[tuple[str, str], str]:
    """Forms (with settings) whose floats are not those of most others, with how far they are apart."""
    outputs: dict[tuple[str, str, int], Path] = {(m.form, m.settings, m.process): kept_output(kept, m) for m in group}
    outputs = {key: path for key, path in outputs.items() if path.exists()}
    if len({form for form, _, _ in outputs}) < 2:
        return {}
    agreeing: dict[tuple[str, str, int], list[str]] = {}
    for key, path in outputs.items():
        agreeing[key] = [k[0] for k, other in outputs.items() if close(other, path, stage.tolerance) is None]
    right = max(agreeing, key=lambda key: len(set(agreeing[key])))
    if len(set(agreeing[right])) < 2:
        return {key[:2]: "no two forms agree" for key in outputs}
    found: dict[tuple[str, str], str] = {}
    for key, path in outputs.items():
        if apart := close(outputs[right], path, stage.tolerance):
            found[key[:2]] = f"not the output of {right[0]}: {apart}"
    return found


def kept_output(kept: Path, m: Measurement) -> Path:
    """Where the first output of a measurement's cell is kept."""
    return kept / f"{m.stage}.{m.form.replace(' ', '-')}.{m.settings}.{m.megabytes:g}mb.{m.process}"
