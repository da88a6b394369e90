"""``python -m orchestration.compare [first|full] [FIELD=VALUE …]``: a comparison without Airflow (``make compare``).

Fields are those of the form of ``dags/engine_comparison.py``, values are JSON or text, lists may be separated by commas:
``stages=join,order sizes_mb=10,100``. The same checks hold as for the DAG.
"""

import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

from handoff.causes import cause_of
from handoff.errors import EXIT_INFRASTRUCTURE, EXIT_USER_ERROR, BatonError, InfrastructureError
from handoff.job import set_up_logging
from orchestration.paths import ALLOWED_ROOTS
from orchestration.plan import Request, plan_comparison
from orchestration.services import LAPTOP_ROOTS

LISTS = {"stages", "engines", "sizes_mb"}


def main(arguments: list[str]) -> int:
    set_up_logging()
    logging.getLogger("orchestration").setLevel(logging.INFO)
    os.environ.setdefault(ALLOWED_ROOTS, LAPTOP_ROOTS)
    try:
        values = dict(_field(argument) for argument in arguments)
        run = f"compare_{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}"
        directory = plan_comparison(Request("engine_comparison", run, "manual", values))
    except (BatonError, InfrastructureError) as error:
        print(f"ERROR: {cause_of(error).sentence}", file=sys.stderr)
        return EXIT_USER_ERROR if isinstance(error, BatonError) else EXIT_INFRASTRUCTURE
    compared = subprocess.run([sys.executable, "-m", "comparison.job", directory]).returncode
    reported = subprocess.run([sys.executable, "-m", "comparison.report", directory]).returncode
    return compared or reported


def _field(argument: str) -> tuple[str, Any]:
    """``full`` is the preset of that name; else ``field=value``."""
    name, given, text = argument.partition("=")
    if not given:
        return "preset", name
    if name in LISTS and not text.startswith("["):
        return name, [_value(part) for part in text.split(",")]
    return name, _value(text)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
