"""What each architecture makes of a worker that dies: ``python -m comparison.chain.faults DIRECTORY [MEGABYTES]``.

Each part of the chain runs once with a worker killed by SIGKILL: one of two executors of Spark between two stages of SQL
(its shuffle files go with it), a task of Ray Data, rank 1 half-way through training, a process with the tuned model. A
part that fails is tried again by its caller. Spark's executors are processes of their own here (``local-cluster``), with
a cluster's four attempts per task. A node that is lost, and a driver, are other experiments.
"""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from comparison.chain import ray_alone, relay, spark_alone
from comparison.chain.clock import Clock
from comparison.data import generated, write_tables
from comparison.digest import close
from comparison.form import Engine, Work

PARTS = ("etl", "train", "predict")
RUNS = {"spark": spark_alone.run, "ray": ray_alone.run, "relay": relay.run}
CORES, MEMORY_BYTES = 2, 2 << 30
SPARK_MASTER = f"local-cluster[{CORES},1,1024]"


@dataclass(frozen=True)
class Fault:
    """What came of one death.

    Attributes:
        architecture: ``spark``, ``ray`` or ``relay``.
        part: ``etl``, ``train`` or ``predict``.
        outcome: ``by itself``; ``retried by the caller``, whose part had failed; ``lost``, also in the second attempt.
        part_seconds: of the part, deaths and attempts included; None where lost.
        undisturbed_seconds: of the part in the same session, nobody killed.
        difference: of the output from the undisturbed one; empty where there is none.
    """

    architecture: str
    part: str
    outcome: str
    part_seconds: float | None
    undisturbed_seconds: float
    difference: str

    @property
    def lost_seconds(self) -> float | None:
        """What the death cost."""
        return None if self.part_seconds is None else self.part_seconds - self.undisturbed_seconds


def measure(architecture: Engine, work: Work) -> Iterator[Fault]:
    """Run the chain undisturbed as the reference, after a first run where the session stays, and once for each death.

    Args:
        architecture: which.
        work: its output is a directory to put outputs in.

    Raises:
        AssertionError: nobody died.
    """
    for name in ("undisturbed",) if architecture == "relay" else ("first", "undisturbed"):
        figures = _run(architecture, work, name)
    reference = work.output / f"{architecture}-undisturbed"
    for part in PARTS:
        name = f"died-in-{part}"
        try:
            found = _run(architecture, work, name, part)
        except Exception as error:  # the second attempt failed too: a result
            outcome, seconds, difference = "lost", None, f"{type(error).__name__}: {str(error)[:200]}"
        else:
            outcome = "retried by the caller" if f"{part}_retries" in found else "by itself"
            seconds = found[f"{part}_seconds"]
            difference = close(reference, work.output / f"{architecture}-{name}", 1e-5) or ""
        assert (work.scratch / "chain" / f"died-{part}").exists(), f"nobody died in {part}"
        yield Fault(architecture, part, outcome, seconds, figures[f"{part}_seconds"], difference)


def _run(architecture: Engine, work: Work, name: str, die: str = "") -> dict[str, float]:
    options = {**work.options, "die": die, "retries": 1, "spark_master": SPARK_MASTER}
    return RUNS[architecture](
        Work(**{**vars(work), "output": work.output / f"{architecture}-{name}", "options": options})
    )


def main(directory: Path, megabytes: float) -> None:
    """Measure all three and write ``faults.parquet``."""
    tables, outputs, scratch = (directory / name for name in ("tables", "outputs", "scratch"))
    write_tables(generated(megabytes, 0), tables, 0)
    work = Work(tables, outputs, scratch, megabytes, CORES, MEMORY_BYTES, options={"spark_master": SPARK_MASTER})
    faults: list[Fault] = []
    engines: tuple[Engine, ...] = ("spark", "ray")
    for engine in engines:
        with relay.started(engine, work, Clock()) as spark:
            faults += _told(measure(engine, Work(**{**vars(work), "spark": spark})))
    faults += _told(measure("relay", work))
    rows = [asdict(fault) | {"lost_seconds": fault.lost_seconds} for fault in faults]
    pq.write_table(pa.Table.from_pylist(rows), directory / "faults.parquet")


def _told(faults: Iterator[Fault]) -> Iterator[Fault]:
    for fault in faults:
        cost = "" if fault.lost_seconds is None else f"{fault.lost_seconds:+.1f} s on {fault.undisturbed_seconds:.1f}"
        print(f"{fault.architecture:6} {fault.part:8} {fault.outcome:22} {cost:18} {fault.difference}", flush=True)
        yield fault


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 1.0)
