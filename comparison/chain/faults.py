"""What each architecture makes of a worker that dies: ``python -m comparison.chain.faults DIRECTORY [MEGABYTES]``.

The chain runs with one worker of each part killed by SIGKILL: one of two executors of Spark between two stages of SQL
(its shuffle files go with it), a task of Ray Data, rank 1 half-way through training, a process with the tuned model. A
part that fails is tried again by its caller, and a second failure ends the run. Spark's executors are processes of their own here (``local-cluster``), with
a cluster's four attempts per task. A node that is lost, and a driver, are other experiments.
"""

import sys
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
        outcome: ``by itself``; ``retried by the caller``, as the part had failed.
        part_seconds: of the part, death and attempts included.
        undisturbed_seconds: of the part in the same session, nobody killed.
        difference: of the output from the undisturbed one; empty where there is none.
    """

    architecture: str
    part: str
    outcome: str
    part_seconds: float
    undisturbed_seconds: float
    difference: str

    @property
    def lost_seconds(self) -> float:
        """What the death cost."""
        return self.part_seconds - self.undisturbed_seconds


def measure(architecture: Engine, work: Work) -> list[Fault]:
    """Run the chain undisturbed, after a first run where the session stays, and once with a death in each part.

    Args:
        architecture: which.
        work: its output is a directory to put outputs in.

    Raises:
        AssertionError: nobody died in some part.
    """
    for name in ("undisturbed",) if architecture == "relay" else ("first", "undisturbed"):
        figures = _run(architecture, work, name)
    found = _run(architecture, work, "deaths", ",".join(PARTS))
    undisturbed, deaths = (work.output / f"{architecture}-{name}" for name in ("undisturbed", "deaths"))
    difference = close(undisturbed, deaths, 1e-5) or ""
    for part in PARTS:
        assert (work.scratch / "chain" / f"died-{part}").exists(), f"nobody died in {part}"
    return [
        Fault(
            architecture, part, "retried by the caller" if f"{part}_retries" in found else "by itself",
            found[f"{part}_seconds"], figures[f"{part}_seconds"], difference,
        )
        for part in PARTS
    ]  # fmt: skip


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


def _told(faults: list[Fault]) -> list[Fault]:
    for fault in faults:
        cost = f"{fault.lost_seconds:+.1f} s on {fault.undisturbed_seconds:.1f}"
        print(f"{fault.architecture:6} {fault.part:8} {fault.outcome:22} {cost:18} {fault.difference}", flush=True)
    return faults


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 1.0)
