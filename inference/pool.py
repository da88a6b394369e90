"""The actors of one pass over the shards, held by their handles, so that none outlives it."""

import contextlib
from collections.abc import Iterator
from typing import Any


class Members:
    """An actor that holds the handles of a pool's actors."""

    def __init__(self) -> None:
        self._handles: list[Any] = []

    def join(self, handle: Any) -> None:
        """Take an actor's handle; again after a restart."""
        self._handles.append(handle)

    def all(self) -> list[Any]:
        return self._handles


@contextlib.contextmanager
def ended_afterwards() -> Iterator[Any]:
    """A :class:`Members` actor; those that joined are ended with the block.

    Ray Data lets an actor go by dropping its handle. After a lost block some stay: an actor that was being restarted, or
    one whose handle the block's traceback holds. They keep the slots that the next pass waits for.
    """
    import ray

    members: Any = ray.remote(num_cpus=0)(Members).remote()
    try:
        yield members
    finally:
        with contextlib.suppress(ray.exceptions.RayError):  # the cluster is going down
            for handle in ray.get(members.all.remote(), timeout=60):
                ray.kill(handle)
            ray.kill(members)


def join(members: Any) -> None:
    """Join as the actor that calls this."""
    import ray

    members.join.remote(ray.get_runtime_context().current_actor)
