"""``python -m deploy.ray_node head|worker``: a Ray node of a cluster, as process of its container.

RAY_HEAD names the head, RAY_NODE_CPUS and RAY_OBJECT_STORE_BYTES what this node offers. The token comes from
RAY_AUTH_TOKEN.
"""

import os
import sys

from orchestration.versions import label_text

TEMPORARY = "/var/lib/ray/node"  # Ray makes it writable for everybody (mode 777); the directory above has mode 700
GCS_PORT = 6379
AGENT_PORT = 52365


def command(role: str, environment: dict[str, str]) -> list[str]:
    """The command line of a node.

    Raises:
        ValueError: unknown role, or no token.
    """
    if not environment.get("RAY_AUTH_TOKEN"):
        raise ValueError(
            "RAY_AUTH_TOKEN is not set: whoever reaches this Ray could run code. Remedy: `make cluster-up`"
        )
    if role == "head":
        # No work on the head: it holds the cluster's state and the drivers of jobs, and must outlive their workers.
        place = ["--head", f"--port={GCS_PORT}", "--dashboard-host=0.0.0.0", "--num-cpus=0", "--num-gpus=0"]
    elif role == "worker":
        place = [
            f"--address={environment.get('RAY_HEAD', 'ray-head')}:{GCS_PORT}",
            f"--num-cpus={environment.get('RAY_NODE_CPUS', '1')}",
        ]
    else:
        raise ValueError(f"unknown role {role!r}. Remedy: head or worker")
    return [
        "ray", "start", *place, "--block", "--disable-usage-stats", f"--temp-dir={TEMPORARY}",
        f"--dashboard-agent-listen-port={AGENT_PORT}",
        # *plan* compares these with Airflow's own.
        f"--labels={label_text()}",
        # Ray else takes 30 % of the machine's memory, whatever the container's limit.
        f"--object-store-memory={environment.get('RAY_OBJECT_STORE_BYTES', str(512 << 20))}",
    ]  # fmt: skip


def main(arguments: list[str]) -> None:
    argv = command(arguments[0] if arguments else "worker", dict(os.environ))
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    main(sys.argv[1:])
