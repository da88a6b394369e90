"""One promotion at a time: MLflow moves an alias without asking where it was, so whoever asks first must be alone."""

import contextlib
import json
import socket
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

from handoff.errors import EngineUnavailable
from handoff.manifest import now
from handoff.store import Store

LEASE = timedelta(minutes=10)  # a holder that died is forgotten after this; what it does takes seconds
WAIT_SECONDS = 120.0
LOOK_SECONDS = 0.2


@contextlib.contextmanager
def alone(store: Store, name: str) -> Iterator[None]:
    """Hold a lock of this name in the store while the block runs.

    On a local disk no two processes hold it. Object stores have no conditional write here (see ``Store.create``): two
    that ask within one round trip may both get it.

    Raises:
        EngineUnavailable: another one held it all the time.
    """
    path, holder = f"_locks/{name}.json", {"id": uuid.uuid4().hex, "host": socket.gethostname()}
    deadline = time.monotonic() + WAIT_SECONDS
    while not store.create(path, json.dumps({**holder, "since": now().isoformat()}).encode()):
        found = _read(store, path)
        if found and now() - datetime.fromisoformat(found["since"]) > LEASE:
            store.remove(path)
        elif time.monotonic() > deadline:
            host = found["host"] if found else "another host"
            raise EngineUnavailable(f"{store.uri(path)} is held by a promotion on {host}. Remedy: retry")
        else:
            time.sleep(LOOK_SECONDS)
    try:
        yield
    finally:
        if (found := _read(store, path)) and found["id"] == holder["id"]:
            store.remove(path)


def _read(store: Store, path: str) -> dict[str, str] | None:
    try:
        found: dict[str, str] = json.loads(store.read(path))
    except FileNotFoundError:
        return None
    return found
