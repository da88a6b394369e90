"""``python -m deploy.demo [--conf JSON]``: the demo on a running cluster, as ``make demo`` shows it on one machine.

Runs in a container of the cluster, which reaches the stores; ``make cluster-demo`` starts it there. UI_URL is the
address of Airflow in the cluster, UI_SHOWN the one for people.
"""

import argparse
import json
import os
import sys
import time
from datetime import UTC, datetime

from handoff.errors import EXIT_INFRASTRUCTURE, EXIT_USER_ERROR, BatonError, InfrastructureError
from orchestration.airflow_api import AirflowApi
from orchestration.form_fields import TRAINING
from orchestration.local import run_dag
from orchestration.services import USER


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description=__doc__)
    parser.add_argument("--conf", type=json.loads, default={}, help="form fields as JSON")
    conf = parser.parse_args(arguments).conf
    url = os.environ["UI_URL"]
    try:
        TRAINING.build(conf, datetime.now(UTC).date())
        api = AirflowApi(url, USER, os.environ["AIRFLOW_ADMIN_PASSWORD"])
        where = f"artifacts in {os.environ['BATON_STORAGE']}"
        return run_dag(api, os.environ.get("UI_SHOWN", url), conf, time.monotonic(), lambda: where)
    except (BatonError, InfrastructureError) as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return EXIT_USER_ERROR if isinstance(error, BatonError) else EXIT_INFRASTRUCTURE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
