"""What a job waits for that has not started: told in the task's log, after 10 s and then once a minute."""

import time
from typing import TYPE_CHECKING, Any

from airflow_ray.errors import RayUnreachable

if TYPE_CHECKING:
    from airflow_ray.client import RayClient

FIRST_SECONDS, AGAIN_SECONDS = 10.0, 60.0


class Waiting:
    """A job that is pending.

    Args:
        client: of the cluster.
        asks: what the job's driver needs to start, by resource.
        log: gets a line.
    """

    def __init__(self, client: "RayClient", asks: dict[str, float], log: Any) -> None:
        self._client, self._asks, self._log = client, asks, log
        self._since: float | None = None
        self._next = 0.0

    def tell(self) -> None:
        """Called at every look that finds the job pending."""
        now = time.monotonic()
        if self._since is None:
            self._since, self._next = now, now + FIRST_SECONDS
        if now < self._next:
            return
        self._next = now + AGAIN_SECONDS
        try:
            nodes = self._client.free()
        except RayUnreachable:
            return  # who looks at the job says so
        self._log.info("the job has waited for %.0f s: %s", now - self._since, what_is_missing(self._asks, nodes))


def what_is_missing(asks: dict[str, float], nodes: list[dict[str, tuple[float, float]]]) -> str:
    """Such as ``its driver asks for 2 CPU, and 0 of 2 are free``.

    Args:
        asks: amounts by resource.
        nodes: free and total amounts of each node, by resource.
    """
    if not asks:
        return "its driver asks for no resources, so Ray is setting up its environment"
    parts = []
    for name, amount in asks.items():
        free, total = (sum(node.get(name, (0.0, 0.0))[which] for node in nodes) for which in (0, 1))
        parts.append(f"{amount:g} {name}, and {free:g} of {total:g} are free")
    text = "its driver asks for " + "; ".join(parts)
    if not any(all(node.get(name, (0, 0))[1] >= amount for name, amount in asks.items()) for node in nodes):
        return (
            text + ". No node has that much: the job starts when such a node comes, and fails when Ray's limit is over"
        )
    if any(all(node.get(name, (0, 0))[0] >= amount for name, amount in asks.items()) for node in nodes):
        return text + ": Ray is setting up its environment, or no node has the labels that it asks for"
    return text
