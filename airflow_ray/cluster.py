"""A Ray cluster as an Airflow connection describes it: address, token, what its jobs get."""

import ipaddress
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_ray.client import RayClient

DEFAULT_PORT = 8265


@dataclass(frozen=True)
class Cluster:
    """Where a cluster is and how to talk to it.

    Attributes:
        url: of the Jobs API, ``http(s)://host:port``.
        dashboard: the same for people's browsers; empty where no address is known that one could resolve.
        token: sent as ``Authorization: Bearer``; never printed.
        verify: whether, or with which CA file, the certificate of an https cluster is checked.
        namespace: name of this Airflow on the cluster; two Airflows never take each other's jobs for their own.
        runtime_env: runtime environment of every job, as Ray takes it.
        working_dir: git working tree whose tracked files every job gets as its working directory.
    """

    url: str
    dashboard: str
    token: str | None = field(default=None, repr=False)
    verify: bool | str = True
    namespace: str = "airflow"
    runtime_env: dict[str, Any] | None = None
    working_dir: str | None = None

    @classmethod
    def from_connection(cls, connection: "Connection") -> "Cluster":
        """
        Raises:
            ValueError: without a host, with an extra that is no JSON object, or for a cluster on another machine
                without TLS or token, unless the connection allows it.
        """
        name = connection.conn_id
        if not connection.host:
            raise ValueError(f"connection {name} names no host. Remedy: set the host of the Ray head's dashboard")
        extra = {key: value for key, value in connection.extra_dejson.items() if value not in (None, "")}
        scheme = connection.schema or "http"
        if scheme not in ("http", "https"):
            raise ValueError(f"connection {name}: scheme {scheme!r}. Remedy: http or https")
        lacks = [
            what for what, there in (("https", scheme == "https"), ("a token", bool(connection.password))) if not there
        ]
        if lacks and not _is_loopback(connection.host) and not _true(extra.get("allow_insecure")):
            raise ValueError(
                f"connection {name} would send jobs to {connection.host} without {' and without '.join(lacks)}: "
                "whoever reaches that port could run code there or read the token. Remedy: set scheme https and the "
                'token as password, or, in a network you trust, "allow_insecure": true in its extra'
            )
        url = f"{scheme}://{connection.host}:{connection.port or DEFAULT_PORT}"
        return cls(
            url=url,
            # A head's name means something inside its network. Only loopback is the same for a browser.
            dashboard=str(extra.get("dashboard_url", url if _is_loopback(connection.host) else "")).rstrip("/"),
            token=connection.password or None,
            verify=extra.get("verify", True),
            namespace=str(extra.get("namespace", cls.namespace)),
            runtime_env=_json_object(extra.get("runtime_env"), f"connection {name}: runtime_env"),
            working_dir=extra.get("working_dir"),
        )

    def job_url(self, submission_id: str) -> str:
        """The job's page on the dashboard; empty where browsers do not reach that."""
        return f"{self.dashboard}/#/jobs/{quote(submission_id)}" if self.dashboard else ""

    def client(self) -> "RayClient":
        """A client of this cluster.

        Raises:
            RayUnreachable: no Ray answers there.
            RayRefused: it refuses the token.
        """
        from airflow_ray.client import RayClient

        return RayClient.connect(self.url, self.token, self.verify)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _true(value: Any) -> bool:
    return value is True or str(value).lower() in ("true", "1", "yes")


def _json_object(value: Any, what: str) -> dict[str, Any] | None:
    if value is None:
        return None
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"{what} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{what} is no JSON object")
    return found
