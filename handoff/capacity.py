"""Whether processes that must run at the same time fit on a cluster; checked before anything starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from handoff.errors import CapacityError

ROUNDING = 1e-6  # of fractions of a CPU


@dataclass(frozen=True)
class Group:
    """Equal processes that a stage needs all at once.

    Attributes:
        what: their name in messages, such as ``workers``.
        key: configuration key of their number.
        count: how many.
        cpus: CPU cores of each.
        gpus: GPUs of each.
    """

    what: str
    key: str
    count: int
    cpus: float
    gpus: int

    def places(self, node: Mapping[str, float]) -> int:
        """How many of them fit on one empty node, from its resources as Ray names them (``CPU``, ``GPU``)."""
        by_cpu = int((node.get("CPU", 0) + ROUNDING) // self.cpus)
        return min(by_cpu, int(node.get("GPU", 0) // self.gpus)) if self.gpus else by_cpu

    def problem(self, nodes: Sequence[Mapping[str, float]]) -> str | None:
        """Why the nodes cannot hold all processes even when idle, with the remedy; None if they can."""
        room = sum(map(self.places, nodes))
        if room >= self.count:
            return None
        needs = f"{self.count} {self.what} x {self.cpus:g} CPU" + (f" + {self.gpus} GPU" if self.gpus else "")
        has = " + ".join(f"{node.get('CPU', 0):g} CPU, {node.get('GPU', 0):g} GPU" for node in nodes)
        use_gpu = self.key.split(".")[0] + ".use_gpu"
        return (
            f"needs {needs}, the Ray cluster has {has or 'no node'}: room for {room}. Remedy: lower {self.key}"
            + (f" or set {use_gpu} to false" if self.gpus and not room else "")
            + ", or add nodes"
        )

    def require(self, nodes: Sequence[Mapping[str, float]]) -> None:
        """Check that the nodes can hold all processes when idle. Raises CapacityError with the problem."""
        if problem := self.problem(nodes):
            raise CapacityError(problem)
