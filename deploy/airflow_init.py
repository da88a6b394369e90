"""``python -m deploy.airflow_init``: once before Airflow's services start: database, the admin's password, pools.

Everything may be repeated: an upgrade of the image migrates the database by the same step.
"""

import contextlib
import io
import json
import os
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from orchestration.policy import POOLS
from orchestration.services import USER

DATABASE_SECONDS = 60.0


def wait_for_database(url: str, seconds: float = DATABASE_SECONDS) -> None:
    """Until the database's server takes a connection.

    It is healthy by now, but its name may not be known for a moment: Podman's name server reads its names anew for
    each container that joins. This service runs once, and no restart policy would try it again.

    Raises:
        OSError: not within ``seconds``.
    """
    place = urlsplit(url)
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((place.hostname or "", place.port or 5432), timeout=5).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def airflow(*arguments: str) -> str:
    """What an ``airflow`` command prints. All run in this process: each new one imports Airflow for seconds of a core."""
    from airflow.__main__ import main as command

    sys.argv = ["airflow", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        command()
    return printed.getvalue()


def patient(*arguments: str, seconds: float = DATABASE_SECONDS) -> str:
    """The same for a command that talks to the database, whose name may be lost again for a moment.

    Raises:
        OperationalError: not within ``seconds``.
    """
    from sqlalchemy.exc import OperationalError

    deadline = time.monotonic() + seconds
    while True:
        try:
            return airflow(*arguments)
        except OperationalError as error:
            if time.monotonic() > deadline:
                raise
            print(f"once more: {str(error.orig).strip()}", flush=True)
            time.sleep(1)


def main() -> None:
    wait_for_database(os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    passwords = Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    descriptor = os.open(passwords, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as file:
        json.dump({USER: os.environ["AIRFLOW_ADMIN_PASSWORD"]}, file)
    patient("db", "migrate")
    known = {pool["pool"] for pool in json.loads(patient("pools", "list", "--output", "json"))}
    for name, (slots, description) in POOLS.items():
        if name not in known:  # the slots that somebody set in the UI stay
            patient("pools", "set", name, str(slots), description, "--include-deferred")


if __name__ == "__main__":
    main()
