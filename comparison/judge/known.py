"""What is known about this machine: the comparisons that were published, put together where they can be."""

from dataclasses import dataclass

from comparison.config import ComparisonConfig
from comparison.judge.outcomes import Key, Outcome, outcomes_of
from comparison.results import Measurement, read_results
from comparison.schedule import keys_of
from handoff.artifact import Artifact, open_artifact
from handoff.facts import ComparisonFacts, facts_of
from handoff.manifest import MANIFEST_NAME
from handoff.store import Store

# What must be alike for two comparisons to tell of the same thing.
MACHINE = ("Processor", "Cores", "Memory", "GPU")
SETTINGS = ("source", "cores", "memory_gib", "seed")
VERSIONS = ("pyspark", "ray")


@dataclass(frozen=True)
class Known:
    """Measurements of one kind of machine.

    Attributes:
        artifacts: comparisons that gave some, the newest first.
        measurements: of each stage at each size, those of the newest comparison that has it, or of an older one that has
            it on more engines. They are never put together from two: engines are compared as they were measured in turns.
        asked: all that these comparisons were to measure of those stages at those sizes.
    """

    artifacts: tuple[Artifact, ...]
    measurements: list[Measurement]
    asked: list[Key]

    @property
    def outcomes(self) -> list[Outcome]:
        """What each form came to at each size, those whose turn never came included."""
        return outcomes_of(self.measurements, self.asked)


def known(store: Store) -> Known | None:
    """All that the comparisons like the newest one have measured; None where none was published. Raises BatonError."""
    ids = [path.split("/")[-2] for path in store.files("comparison") if path.endswith(f"/{MANIFEST_NAME}")]
    artifacts = sorted((open_artifact(store, one) for one in ids), key=lambda a: a.manifest.created, reverse=True)
    alike = [one for one in artifacts if _kind(one) == _kind(artifacts[0])]
    measured: dict[tuple[str, float], list[Measurement]] = {}
    asked: dict[tuple[str, float], list[Key]] = {}
    used = []
    for artifact in alike:
        found: dict[tuple[str, float], list[Measurement]] = {}
        for m in read_results(artifact):
            found.setdefault((m.stage, m.megabytes), []).append(m)
        gain = {key: rows for key, rows in found.items() if _engines(rows) > _engines(measured.get(key, []))}
        if gain:
            used.append(artifact)
        measured |= gain
        for key in keys_of(_config(artifact)):
            if (key[0], key[3]) in gain:
                asked.setdefault((key[0], key[3]), []).append(key)
    if not used:
        return None
    rows = [m for some in measured.values() for m in some]
    return Known(tuple(used), rows, [key for some in asked.values() for key in some])


def _config(artifact: Artifact) -> ComparisonConfig:
    settings = {name: value for name, value in artifact.manifest.config.items() if name != "run"}
    return ComparisonConfig.model_validate(settings)


def _engines(rows: list[Measurement]) -> int:
    return len({m.engine for m in rows})


def _kind(artifact: Artifact) -> tuple[object, ...]:
    """The machine, the settings and the versions that a comparison was made with."""
    manifest = artifact.manifest
    facts = facts_of(manifest, ComparisonFacts)
    return (
        str(facts.engine_settings),
        *(facts.machine.get(name) for name in MACHINE),
        *(manifest.config.get(name) for name in SETTINGS),
        *(manifest.producer.versions.get(name) for name in VERSIONS),
    )
