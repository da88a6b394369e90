"""``python -m deploy.airflow_init``: once before Airflow's services start: database, the admin's password, pools.

Everything may be repeated: an upgrade of the image migrates the database by the same step.
"""

import json
import os
import subprocess
from pathlib import Path

from orchestration.policy import POOLS
from orchestration.services import USER


def main() -> None:
    passwords = Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    descriptor = os.open(passwords, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as file:
        json.dump({USER: os.environ["AIRFLOW_ADMIN_PASSWORD"]}, file)
    subprocess.run(["airflow", "db", "migrate"], check=True)
    known = json.loads(
        subprocess.run(["airflow", "pools", "list", "--output", "json"], check=True, stdout=subprocess.PIPE).stdout
    )
    for name, (slots, description) in POOLS.items():
        if name not in {pool["pool"] for pool in known}:  # the slots that somebody set in the UI stay
            command = ["airflow", "pools", "set", name, str(slots), description, "--include-deferred"]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
