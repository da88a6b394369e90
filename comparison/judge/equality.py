"""Equal outputs first: a form whose output is not the right one shows no time.

What is right is told by the stage's oracle, which is plain Python and shares no code with a form, or by the digest that it gave
once (``golden.json``). Where there is neither, forms vote: one vote for each kernel, as forms that share the code that makes
their rows also share its faults.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from comparison.digest import close
from comparison.form import Stage
from comparison.results import Measurement

Group = tuple[str, float]


def judged(
    measurements: Iterable[Measurement],
    stage_of: Callable[[str], Stage],
    kept: Path,
    right_of: Callable[[Stage, float], str | None] = lambda stage, megabytes: None,
) -> list[Measurement]:
    """Measurements with ``status`` unequal and no time where a form's output is not the right one.

    Args:
        kept: directory of the outputs of stages that are compared as floats, one per cell; see :func:`kept_output`.
        right_of: the digest of the right output of a stage at a size; None where it is not known and the forms vote.
    """
    measurements = list(measurements)
    groups: dict[Group, list[Measurement]] = defaultdict(list)
    for m in measurements:
        if m.status == "ok" and m.digest:
            groups[m.stage, m.megabytes].append(m)
    wrong: dict[tuple[str, float, str, str], str] = {}
    for (name, megabytes), group in groups.items():
        stage = stage_of(name)
        if stage.compared == "close":
            differing = _far(stage, group, kept)
        else:
            differing = _other(stage, group, right_of(stage, megabytes))
        for (form, settings), why in differing.items():
            wrong[name, megabytes, form, settings] = why
    return [_without_time(m, wrong.get((m.stage, m.megabytes, m.form, m.settings))) for m in measurements]


def _without_time(m: Measurement, why: str | None) -> Measurement:
    return replace(m, status="unequal", seconds=None, message=why) if why and m.status == "ok" else m


def kernel_of(stage: Stage, form: str) -> str:
    """Name of the code that makes a form's rows: what it has one vote with."""
    return next((f.kernel for f in stage.forms if f.name == form), "") or form


def _other(stage: Stage, group: list[Measurement], right: str | None) -> dict[tuple[str, str], str]:
    """Forms (with settings) that gave another digest than the right one, in any run, with what they gave."""
    seen: dict[tuple[str, str], set[str]] = defaultdict(set)
    for m in group:
        assert m.digest
        seen[m.form, m.settings].add(m.digest)
    if right is not None:
        what = f"the oracle's is {right}"
    else:
        kernels: dict[str, set[str]] = defaultdict(set)  # by the digest that they gave
        for (form, _), digests in seen.items():
            if len(digests) == 1:
                kernels[next(iter(digests))].add(kernel_of(stage, form))
        alone = len({kernel_of(stage, form) for form, _ in seen}) == 1
        if alone and len({digest for digests in seen.values() for digest in digests}) == 1:
            return {}  # one kernel: its forms were compared with each other only
        most = max(map(len, kernels.values()), default=0)
        leading = [digest for digest, some in kernels.items() if len(some) == most]
        if most < 2 or len(leading) > 1:
            return {key: f"no two independent forms agree: {', '.join(sorted(d))}" for key, d in seen.items()}
        right = leading[0]
        what = f"that of {most} independent forms is {right}"
    return {
        key: f"its output is {', '.join(sorted(digests))}, {what}"
        for key, digests in seen.items()
        if digests != {right}
    }


def _far(stage: Stage, group: list[Measurement], kept: Path) -> dict[tuple[str, str], str]:
    """Forms (with settings) whose floats are not those of most other kernels, with how far they are apart."""
    outputs: dict[tuple[str, str, int], Path] = {(m.form, m.settings, m.process): kept_output(kept, m) for m in group}
    outputs = {key: path for key, path in outputs.items() if path.exists()}
    alone = len({kernel_of(stage, form) for form, _, _ in outputs}) < 2
    agreeing = {
        key: {kernel_of(stage, k[0]) for k, other in outputs.items() if close(other, path, stage.tolerance) is None}
        for key, path in outputs.items()
    }
    right = max(agreeing, key=lambda key: len(agreeing[key]), default=None)
    if right is None:
        return {}
    unanimous = all(close(outputs[right], path, stage.tolerance) is None for path in outputs.values())
    if alone and unanimous:
        return {}  # one kernel: its forms were compared with each other only
    if len(agreeing[right]) < 2:
        return {key[:2]: "no two independent forms agree" for key in outputs}
    found: dict[tuple[str, str], str] = {}
    for key, path in outputs.items():
        if apart := close(outputs[right], path, stage.tolerance):
            found[key[:2]] = f"not the output of {right[0]}: {apart}"
    return found


def kept_output(kept: Path, m: Measurement) -> Path:
    """Where the first output of a measurement's cell is kept."""
    return kept / f"{m.stage}.{m.form.replace(' ', '-')}.{m.settings}.{m.megabytes:g}mb.{m.process}"
