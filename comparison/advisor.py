"""Which engine for a stage at a size: a time for each form from what was measured, with its interval; no black box.

A form that was measured at two sizes or more has a fit of its own: a fixed part, and a part per MB. Any other takes the
costs that all forms of its engine share (``comparison.fit.COSTS``), scaled to its own figure where it has one.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from comparison.fit import COSTS, DRAWS, Cell, bootstrap, cells, resampled
from comparison.results import Measurement
from comparison.verdict import CONTENDERS
from handoff.errors import ConfigError

REACH = 10.0  # how many times beyond what was measured an answer is given
SAME_SIZE = 1.001


@dataclass(frozen=True)
class Prediction:
    """Seconds that a form is expected to take, with a 95 % interval.

    Attributes:
        basis: what it rests on: ``measured`` at this size, ``fitted`` to other sizes of the form, or ``engine``: what
            the engine's other forms have cost.
    """

    form: str
    engine: str
    seconds: float
    low: float
    high: float
    basis: str


@dataclass(frozen=True)
class Answer:
    """What the advisor says of a stage at a size.

    Attributes:
        predictions: of all forms, the fastest first; also of those that are not asked about.
        among: engines that are asked about.
        failed: forms that had no time at this size or a smaller one, with the reason.
    """

    stage: str
    megabytes: float
    warm: bool
    predictions: tuple[Prediction, ...]
    among: tuple[str, ...]
    failed: dict[str, str]

    @property
    def best(self) -> Prediction:
        """The fastest of those asked about."""
        return next(p for p in self.predictions if p.engine in self.among)

    @property
    def engines(self) -> tuple[str, ...]:
        """Of the best form and of each whose interval overlaps its, the fastest first."""
        rivals = [p for p in self.predictions if p.engine in self.among and p.low <= self.best.high]
        return tuple(dict.fromkeys(p.engine for p in rivals))

    @property
    def choice(self) -> str:
        """An engine, or ``either``."""
        return self.best.engine if len(self.engines) == 1 else "either"


class Advisor:
    """Answers from measurements. Raises ConfigError where they hold no time.

    Args:
        warm: whether to ask for a run in a session that has run before; else for its start and first run.
        seed: of the bootstrap.
    """

    def __init__(self, measurements: Iterable[Measurement], warm: bool = False, seed: int = 0) -> None:
        measured = list(measurements)
        self.warm, self._seed = warm, seed
        self.cells = cells(measured, warm)
        if not self.cells:
            raise ConfigError(
                f"the measurements hold no {'warm' if warm else 'whole'} run that succeeded. "
                "Remedy: run a comparison (make compare)"
            )
        have = {(c.stage, c.form, c.megabytes) for c in self.cells}
        self._failed: dict[tuple[str, str], tuple[float, str]] = {}
        for m in sorted(measured, key=lambda m: -m.megabytes):
            if m.status not in ("ok", "loaded") and (m.stage, m.form, m.megabytes) not in have:
                self._failed[m.stage, m.form] = m.megabytes, f"{m.status} at {m.megabytes:g} MB"

    def ask(
        self,
        stage: str,
        megabytes: float,
        among: Sequence[str] = CONTENDERS,
        unmeasured: Collection[Cell] = (),
    ) -> Answer:
        """Times of every form of a stage at a size.

        Args:
            among: engines to choose from.
            unmeasured: forms to judge by their engine's costs if the stage was not measured; without times.

        Raises:
            ConfigError: the stage was not measured; the size is too far from those that were; or no form is left.
        """
        known = [c for c in self.cells if c.stage == stage]
        asked = list({c.form: c for c in known}.values()) or list(unmeasured)
        if not asked:
            measured = ", ".join(sorted({c.stage for c in self.cells}))
            raise ConfigError(f"the stage {stage!r} was not measured. Remedy: measure it, or ask for one of {measured}")
        failed = {
            form: why for (name, form), (size, why) in self._failed.items() if name == stage and size <= megabytes
        }
        predicted: list[Prediction] = []
        unknown: dict[str, ConfigError] = {}
        for c in asked:
            if c.form not in failed:
                try:
                    predicted.append(self._predict(replace(c, megabytes=megabytes)))
                except ConfigError as error:
                    unknown[c.engine] = error
        for engine in unknown.keys() & set(among) - {p.engine for p in predicted}:
            raise unknown[engine]  # an answer without it would look like a verdict
        if not any(p.engine in among for p in predicted):
            reasons = "; ".join(f"{form}: {why}" for form, why in sorted(failed.items()))
            raise ConfigError(
                f"no form of {stage} on {' or '.join(among)} has a time at {megabytes:g} MB ({reasons or 'none measured'}). "
                "Remedy: see the comparison's report, and measure again what failed"
            )
        return Answer(
            stage, megabytes, self.warm, tuple(sorted(predicted, key=lambda p: p.seconds)), tuple(among), failed
        )

    def coefficients(self, engine: str) -> dict[str, float]:
        """Seconds per unit of each of ``COSTS``, shared by the forms of an engine. Raises ConfigError without any."""
        return dict(zip(COSTS, self._shared(engine)[0][0].tolist(), strict=True))

    def _predict(self, asked: Cell) -> Prediction:
        own = [c for c in self.cells if (c.stage, c.form) == (asked.stage, asked.form)]
        near = [c for c in own if max(c.megabytes, asked.megabytes) / min(c.megabytes, asked.megabytes) < SAME_SIZE]
        self._require_near(own or [c for c in self.cells if c.engine == asked.engine], asked.megabytes)
        draw = self._draw
        if near:
            point, basis = near[0].median, "measured"
            drawn = np.array([resampled(near[:1], draw)[0] for _ in range(DRAWS)])
        elif len(own) > 1:
            costs = np.array([[1.0, c.megabytes] for c in own])
            fits, misfit = bootstrap(own, costs, draw)
            times = fits @ np.array([1.0, asked.megabytes])
            point, drawn, basis = times[0], times[1:] * draw.choice(misfit, DRAWS), "fitted"
        else:
            fits, misfit = self._shared(asked.engine)
            self._require_sizes(asked)
            times = fits @ asked.costs
            if own:  # at another size: the engine's costs say by how much the time differs
                times = times * (own[0].median / (fits @ own[0].costs))
            point, drawn, basis = times[0], times[1:] * draw.choice(misfit, DRAWS), "engine"
        low, high = np.quantile(drawn, [0.025, 0.975])
        return Prediction(asked.form, asked.engine, float(point), float(low), float(high), basis)

    def _shared(self, engine: str) -> tuple[np.ndarray, np.ndarray]:
        if engine not in self._engines:
            chosen = [c for c in self.cells if c.engine == engine]
            if not chosen:
                raise ConfigError(f"nothing was measured on {engine}. Remedy: add it to the comparison's engines")
            self._engines[engine] = bootstrap(chosen, np.array([c.costs for c in chosen]), self._draw)
        return self._engines[engine]

    def _require_near(self, chosen: list[Cell], megabytes: float) -> None:
        sizes = [c.megabytes for c in chosen]
        if sizes and not min(sizes) / REACH <= megabytes <= max(sizes) * REACH:
            raise ConfigError(
                f"{megabytes:g} MB is more than {REACH:g} times beyond what was measured ({min(sizes):g} to "
                f"{max(sizes):g} MB). Remedy: measure nearer to it: set sizes_mb of a comparison"
            )

    def _require_sizes(self, asked: Cell) -> None:
        sizes = {c.megabytes for c in self.cells if c.engine == asked.engine}
        if len(sizes) == 1 and asked.megabytes not in sizes:
            raise ConfigError(
                f"{asked.engine} was measured at {sizes.pop():g} MB only, so nothing says how its time grows. "
                "Remedy: give a comparison two sizes or more (sizes_mb)"
            )

    @property
    def _draw(self) -> np.random.Generator:
        return np.random.default_rng(self._seed)  # the same for each question, so that answers can be repeated

    @cached_property
    def _engines(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {}
