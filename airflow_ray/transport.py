"""The one way by which a request leaves for a cluster: what the connection says is sent, and nothing else.

Ray's own client takes more from its surroundings than a connection says: the address from RAY_ADDRESS, the token of this
machine's Ray, a password from ~/.netrc. It also follows redirects and sets no time limit. Any of these can hand a secret
to a host that it was not given for, so requests are made here, the stream of a log and the state API's among them.
"""

import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import aiohttp
import ray  # noqa: TID253
import requests
from ray.dashboard.modules.dashboard_sdk import SubmissionClient  # noqa: TID253
from ray.job_submission import JobSubmissionClient  # noqa: TID253

from airflow_ray.errors import RayRefused, RayUnreachable

if TYPE_CHECKING:
    from airflow_ray.cluster import Cluster

CONNECT_SECONDS, ANSWER_SECONDS = 5, 30
REDIRECTS = (301, 302, 303, 307, 308)


class Transport(JobSubmissionClient):
    """Ray's Jobs client of one cluster, without its constructor: that one looks for addresses and tokens elsewhere.

    Raises:
        RayUnreachable: no Ray answers there.
        RayRefused: as :meth:`_do_request`; also for a CA file that cannot be read.
    """

    def __init__(self, cluster: "Cluster") -> None:
        self._cluster = cluster
        verify = _authorities(cluster)
        # With a header of its own, Ray does not look for this machine's token.
        SubmissionClient.__init__(self, cluster.url, headers={"Authorization": ""}, verify=verify)
        self._client_ray_version = ray.__version__
        self._address = cluster.url
        self._headers = dict(cluster.headers)
        if cluster.token:
            self._headers["Authorization"] = f"Bearer {cluster.token}"
        if cluster.cookies:  # as a header: aiohttp's own store of cookies sends none to an IP address
            self._headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cluster.cookies.items())
        self._check_connection_and_version("2.2", "Remedy: a cluster of Ray 2.2 or newer.")

    def _do_request(
        self, method: str, endpoint: str, *, data: Any = None, json_data: Any = None, **keywords: Any
    ) -> requests.Response:
        """
        Raises:
            RayUnreachable: no answer in time, or one of a proxy without its Ray.
            RayRefused: the token, headers or cookies are refused, the certificate is not trusted, or the answer is a
                redirect.
        """
        # Ray's client sets no time limit: a head that hangs would hang the task for ever.
        keywords.setdefault("timeout", (CONNECT_SECONDS, ANSWER_SECONDS))
        try:
            answer = requests.request(
                method,
                self._address + endpoint,
                data=data,
                json=json_data,
                headers=self._headers,
                verify=self._verify,
                allow_redirects=False,
                auth=_as_it_is,
                **keywords,
            )
        except requests.exceptions.SSLError as error:
            cause = _cause(error)
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise RayRefused(
                    f"the certificate of {self._address} is not trusted: {cause.verify_message}. Remedy: set verify in "
                    f"connection {self._cluster.name} to the file of the CA that signed it"
                ) from error
            if isinstance(cause, ssl.SSLError) and cause.reason == "WRONG_VERSION_NUMBER":
                raise RayRefused(
                    f"{self._address} speaks no TLS. Remedy: correct port or scheme of connection {self._cluster.name}"
                ) from error
            raise RayUnreachable(f"no answer from {self._address}: {cause}") from error  # cut off in the handshake
        except requests.RequestException as error:
            raise RayUnreachable(f"no answer from {self._address}: {type(error).__name__}") from error
        if answer.status_code in (502, 503, 504):  # what proxies say while the head is away
            raise RayUnreachable(f"{self._address} answered {answer.status_code}")
        if answer.status_code in (401, 403):
            self._refused(answer.status_code)
        if answer.status_code in REDIRECTS:
            self._redirected(answer.headers.get("Location", ""))
        return answer

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        """The job's log from its beginning, as it grows."""
        trace = aiohttp.TraceConfig()

        async def stop_at_redirect(_session: Any, _context: Any, found: Any) -> None:
            self._redirected(found.response.headers.get("Location", ""))

        trace.on_request_redirect.append(stop_at_redirect)
        async with (
            aiohttp.ClientSession(headers=self._headers, trace_configs=[trace]) as session,
            session.ws_connect(f"{self._address}/api/jobs/{job_id}/logs/tail", ssl=self._ssl_context) as stream,
        ):
            async for message in stream:
                if message.type == aiohttp.WSMsgType.TEXT:
                    yield message.data
            if stream.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE or stream.exception():
                raise RayUnreachable(f"the stream was cut (close code {stream.close_code})")

    def _refused(self, status: int) -> NoReturn:
        cluster = self._cluster
        given = [
            what
            for what, there in (("token", cluster.token), ("headers", cluster.headers), ("cookies", cluster.cookies))
            if there
        ]
        if not given:
            raise RayRefused(
                f"Ray at {self._address} wants a token (status {status}), and connection {cluster.name} has none. "
                "Remedy: set the cluster's token as the connection's password; the token of this machine is never sent"
            )
        raise RayRefused(
            f"Ray at {self._address} refuses the {' and the '.join(given)} (status {status}). "
            f"Remedy: correct them in connection {cluster.name}"
            + (", the token as its password" if cluster.token else "")
        )

    def _redirected(self, place: str) -> NoReturn:
        raise RayRefused(
            f"{self._address} answers with a redirect to {place.split('?')[0]}, which is not followed: secrets are for the "
            f"connection's host alone. Remedy: set host, port and scheme of connection {self._cluster.name} to where the "
            "Jobs API is; a redirect to a login page asks for headers or cookies"
        )


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Stands for credentials, so that requests does not look for some in ~/.netrc."""
    return request


def _cause(error: BaseException) -> BaseException:
    """The innermost exception, through what requests and urllib3 wrap around it."""
    inner = getattr(error, "reason", None)
    if not isinstance(inner, BaseException):
        inner = next((part for part in error.args if isinstance(part, BaseException)), None)
    return error if inner is None else _cause(inner)


def _authorities(cluster: "Cluster") -> bool | str:
    """The same CA bundle for requests and streams, which by default read two: the connection's, else the system's."""
    if cluster.verify is True:
        system = ssl.get_default_verify_paths().cafile
        return (
            os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or system or requests.certs.where()
        )
    if isinstance(cluster.verify, str):
        path = Path(cluster.verify)
        try:
            if not path.is_dir():
                ssl.create_default_context(cafile=str(path))
        except (OSError, ssl.SSLError) as error:
            raise RayRefused(
                f"connection {cluster.name}: verify names {path}, which is no CA file here ({error}). "
                "Remedy: name a PEM file that this machine can read"
            ) from error
    return cluster.verify
