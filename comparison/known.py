"""What is known about this machine: the comparisons that were published, put together where they can be."""

from dataclasses import dataclass

from comparison.results import Measurement, read_results
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
        superseded: what the comparison before had of a stage at a size: the same question, asked on another day.
    """

    artifacts: tuple[Artifact, ...]
    measurements: list[Measurement]
    superseded: list[Measurement]

    @property
    def newest(self) -> Artifact:
        """The comparison that was published last."""
        return self.artifacts[0]


def known(store: Store) -> Known | None:
    """All that the comparisons like the newest one have measured; None where none was published. Raises BatonError."""
    ids = [path.split("/")[-2] for path in store.files("comparison") if path.endswith(f"/{MANIFEST_NAME}")]
    artifacts = sorted((open_artifact(store, one) for one in ids), key=lambda a: a.manifest.created, reverse=True)
    alike = [one for one in artifacts if _kind(one) == _kind(artifacts[0])]
    measured: dict[tuple[str, float], list[Measurement]] = {}
    superseded: dict[tuple[str, float], list[Measurement]] = {}
    used = []
    for artifact in alike:
        found: dict[tuple[str, float], list[Measurement]] = {}
        for m in read_results(artifact):
            found.setdefault((m.stage, m.megabytes), []).append(m)
        gain = {key: rows for key, rows in found.items() if _engines(rows) > _engines(measured.get(key, []))}
        superseded |= {key: rows for key, rows in found.items() if key not in gain and key not in superseded}
        if gain:
            used.append(artifact)
        measured |= gain
    if not used:
        return None
    return Known(tuple(used), *([m for rows in each.values() for m in rows] for each in (measured, superseded)))


def _engines(rows: list[Measurement]) -> int:
    return len({m.engine for m in rows})


def _kind(artifact: Artifact) -> tuple[object, ...]:
    """The machine, the settings and the versions that a comparison was made with."""
    manifest = artifact.manifest
    machine = facts_of(manifest, ComparisonFacts).machine
    return (
        *(machine.get(name) for name in MACHINE),
        *(manifest.config.get(name) for name in SETTINGS),
        *(manifest.producer.versions.get(name) for name in VERSIONS),
    )
