"""``python -m deploy.ray_node head|worker``: a Ray node of a cluster, as process of its container.

RAY_HEAD names the head, RAY_NODE_CPUS and RAY_OBJECT_STORE_BYTES what this node offers. The token comes from
RAY_AUTH_TOKEN. RAY_NODE_NAME is a name of this node on the network that all nodes share: Ray else tells the others the
address of any of its networks, and workers that cannot reach that one wait for ever for what the head sends them.
"""

import os
import socket
import sys
import time

from orchestration.versions import label_text

TEMPORARY = "/var/lib/ray/node"  # Ray makes it writable for everybody (mode 777); the directory above has mode 700
GCS_PORT = 6379
AGENT_PORT = 52365
NAME_SECONDS = 30.0  # for which a name server may not know this container yet


def address(name: str, seconds: float = NAME_SECONDS) -> str:
    """The IPv4 address of a name. Raises OSError if it is not known within ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return socket.gethostbyname(name)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def command(role: str, environment: dict[str, str]) -> list[str]:
    """The command line of a node.

    Raises:
        ValueError: unknown role, or no token.
        OSError: RAY_NODE_NAME has no address.
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
    if name := environment.get("RAY_NODE_NAME"):
        place.append(f"--node-ip-address={address(name)}")
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
