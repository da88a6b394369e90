"""A Ray cluster as an Airflow connection describes it: address, secrets, what its jobs get."""

import difflib
import ipaddress
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_ray.client import RayClient

DEFAULT_PORT = 8265
HOST_NAME = re.compile(r"(?=.{1,253}\.?$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_-]+)*\.?")
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
WORDS = {True: ("true", "1", "yes"), False: ("false", "0", "no")}


@dataclass(frozen=True)
class Cluster:
    """Where a cluster is and how to talk to it.

    Attributes:
        url: of the Jobs API, ``http(s)://host:port``.
        dashboard: the same for people's browsers; empty where no address is known that one could resolve.
        token: sent as ``Authorization: Bearer``; never printed.
        headers: sent with every request, such as those that an authenticating proxy wants; never printed.
        cookies: the same as cookies; never printed.
        verify: whether, or with which CA file, the certificate of an https cluster is checked.
        namespace: name of this Airflow on the cluster; two Airflows never take each other's jobs for their own.
        runtime_env: runtime environment of every job, as Ray takes it.
        working_dir: git working tree whose tracked files every job gets as its working directory.
        name: of the connection, for messages.
    """

    url: str
    dashboard: str
    token: str | None = field(default=None, repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    cookies: dict[str, str] = field(default_factory=dict, repr=False)
    verify: bool | str = True
    namespace: str = "airflow"
    runtime_env: dict[str, Any] | None = field(default=None, repr=False)
    working_dir: str | None = None
    name: str = "ray_default"

    @classmethod
    def from_connection(cls, connection: "Connection") -> "Cluster":
        """
        Raises:
            ValueError: naming the field and the remedy: one that is missing or malformed, an unknown key in extra, or a
                cluster on another machine without TLS or token, unless the connection allows it.
        """
        wrong = partial(_wrong, connection.conn_id)
        extra = _extra(connection.extra, wrong)
        host, scheme, port = _address(connection, wrong)
        token = connection.password or None
        if token and not re.fullmatch(r"[\x21-\x7e]+", token):
            wrong(
                "password (the token) holds a space, a line's end or a character that no header can carry",
                "give the token alone, as it stands in its file without the line's end",
            )
        headers = _texts(extra, "headers", wrong)
        cookies = _texts(extra, "cookies", wrong)
        _check_headers(headers, cookies, token, wrong)
        secret = token or headers or cookies
        lacks = [what for what, there in (("https", scheme == "https"), ("a token", secret)) if not there]
        if lacks and not _is_loopback(host) and not _flag(extra, "allow_insecure", False, wrong):
            raise ValueError(
                f"connection {connection.conn_id} would send jobs to {host} without {' and without '.join(lacks)}: "
                "whoever reaches that port could run code there or read the token. Remedy: set scheme https and the "
                'token as password, or, in a network you trust, "allow_insecure": true in its extra'
            )
        url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        return cls(
            url=url,
            # A head's name means something inside its network. Only loopback is the same for a browser.
            dashboard=_dashboard(extra.get("dashboard_url", url if _is_loopback(host) else ""), wrong),
            token=token,
            headers=headers,
            cookies=cookies,
            verify=_verify(extra, wrong),
            namespace=_text(extra, "namespace", wrong) or cls.namespace,
            runtime_env=_object(extra, "runtime_env", wrong),
            working_dir=_text(extra, "working_dir", wrong),
            name=connection.conn_id,
        )

    def job_url(self, submission_id: str) -> str:
        """The job's page on the dashboard; empty where browsers do not reach that."""
        return f"{self.dashboard}/#/jobs/{quote(submission_id)}" if self.dashboard else ""

    def client(self) -> "RayClient":
        """A client of this cluster.

        Raises:
            RayUnreachable: no Ray answers there.
            RayRefused: it refuses the token, its certificate is not trusted, or the CA file cannot be read.
        """
        from airflow_ray.client import RayClient

        return RayClient.connect(self)


Wrong = Callable[[str, str], NoReturn]


def _wrong(name: str, what: str, remedy: str) -> NoReturn:
    raise ValueError(f"connection {name}: {what}. Remedy: {remedy}")


def _extra(text: str | None, wrong: Wrong) -> dict[str, Any]:
    from airflow.sdk.log import mask_secret

    from airflow_ray.provider import EXTRA_KEYS

    try:
        extra = json.loads(text or "{}")
    except ValueError as error:
        wrong(f"extra is no JSON ({error})", 'write it as {"key": value}, keys and texts in double quotes')
    if not isinstance(extra, dict):
        wrong(f"extra is a {type(extra).__name__}", 'write it as a JSON object, {"key": value}')
    if unknown := sorted(extra.keys() - EXTRA_KEYS):
        close = difflib.get_close_matches(unknown[0], EXTRA_KEYS, n=1)
        meant = f"write {close[0]!r}, or take it out" if close else f"take it out; the keys are {', '.join(EXTRA_KEYS)}"
        wrong(f"extra has the unknown key {unknown[0]!r}", meant)
    mask_secret(extra)
    return {key: value for key, value in extra.items() if value not in (None, "")}


def _address(connection: "Connection", wrong: Wrong) -> tuple[str, str, int]:
    host, scheme = (connection.host or "").strip(), connection.schema or "http"
    if not host:
        raise ValueError(
            f"connection {connection.conn_id} names no host. Remedy: set the host of the Ray head's dashboard"
        )
    if "://" in host:
        parts = urlsplit(host)
        wrong(
            "host is a URL",
            f"set host {parts.hostname or 'name'}, scheme {parts.scheme} and the port in their own fields",
        )
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        ipaddress.IPv6Address(bare)
    except ValueError:
        if not HOST_NAME.fullmatch(host):
            shown = "holds an @" if "@" in host else f"is {host!r}"
            wrong(f"host {shown}, no name or address of a machine", "set the name alone, and the port in its own field")
    if scheme not in ("http", "https"):
        wrong(f"scheme {scheme!r}", "http or https")
    port = DEFAULT_PORT if connection.port is None else connection.port
    if not 0 < port < 65536:
        wrong(f"port {port}", f"a number from 1 to 65535; {DEFAULT_PORT} where empty")
    return bare, scheme, port


def _check_headers(headers: dict[str, str], cookies: dict[str, str], token: str | None, wrong: Wrong) -> None:
    from airflow.sdk.log import mask_secret

    for secret in (*headers.values(), *cookies.values()):
        mask_secret(secret)
    for name, value in headers.items():
        if not HEADER_NAME.fullmatch(name) or not re.fullmatch(r"[\x20-\x7e\t]*", value) or value != value.strip():
            wrong(f"headers has {name!r}, whose name or value no request can carry", "write name and value in ASCII")
        if name.lower() in ("cookie", "host", "content-length", "transfer-encoding"):
            wrong(f"headers sets {name!r}", "take it out; cookies belong into the field cookies")
        if token and name.lower() == "authorization":
            wrong("headers sets Authorization beside the password", "keep one of them")
    try:
        SimpleCookie(cookies)
        readable = all(
            re.fullmatch(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*", value) for value in cookies.values()
        )
    except CookieError:
        readable = False
    if not readable:
        wrong("cookies has a name or value that no request can carry", "quote it as the server does (percent signs)")


def _verify(extra: dict[str, Any], wrong: Wrong) -> bool | str:
    value = extra.get("verify", True)
    if isinstance(value, bool) or (isinstance(value, str) and value.lower() in (*WORDS[True], *WORDS[False])):
        return _flag(extra, "verify", True, wrong)
    if not isinstance(value, str):
        wrong(f"verify is {value!r}", "set the path of a CA file, or false to trust any certificate")
    return value


def _dashboard(value: Any, wrong: Wrong) -> str:
    if value == "":
        return ""
    if not isinstance(value, str) or urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname:
        wrong(f"dashboard_url is {value!r}", "set a whole address such as https://ray.example.com")
    return value.rstrip("/")


def _flag(extra: dict[str, Any], key: str, default: bool, wrong: Wrong) -> bool:
    value = extra.get(key, default)
    word = str(value).lower()
    if word not in (*WORDS[True], *WORDS[False]):
        wrong(f"{key} is {value!r}", "true or false")
    return word in WORDS[True]


def _text(extra: dict[str, Any], key: str, wrong: Wrong) -> str | None:
    value = extra.get(key)
    if value is not None and not isinstance(value, str):
        wrong(f"{key} is a {type(value).__name__}", "set a text")
    return value


def _object(extra: dict[str, Any], key: str, wrong: Wrong) -> dict[str, Any] | None:
    value = extra.get(key)
    if isinstance(value, str):  # as the form sends it
        try:
            value = json.loads(value)
        except ValueError as error:
            wrong(f"{key} is no JSON ({error})", 'write it as {"key": value}, keys and texts in double quotes')
    if value is not None and not isinstance(value, dict):
        wrong(f"{key} is no JSON object", 'write it as {"key": value}')
    return value


def _texts(extra: dict[str, Any], key: str, wrong: Wrong) -> dict[str, str]:
    found = _object(extra, key, wrong) or {}
    if odd := [name for name, value in found.items() if not isinstance(value, str)]:
        wrong(f"{key} has {odd[0]!r}, a {type(found[odd[0]]).__name__}", "set texts")
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
