"""``python deploy/health.py URL [COMPONENT]``: health check of a container; exit code 0 or 1, one line that says why.

Standard library alone and one request: a check that imports Airflow or Ray takes seconds of a core each time. COMPONENT
is one of those that Airflow's API server reports on; without it any answer counts that is no error.
"""

import json
import os
import sys
import urllib.error
import urllib.request

TIMEOUT_SECONDS = 8


def problem(url: str, component: str | None = None) -> str | None:
    """What is wrong with a service, or None."""
    request = urllib.request.Request(url)
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=TIMEOUT_SECONDS) as got:
            body = got.read()
    except (OSError, urllib.error.URLError) as error:
        return f"{url}: {error}"
    if component and (status := json.loads(body).get(component, {}).get("status")) != "healthy":
        return f"{component} is {status or 'unknown'}"
    return None


if __name__ == "__main__":
    found = problem(*sys.argv[1:])
    print(found or "healthy")
    sys.exit(1 if found else 0)
