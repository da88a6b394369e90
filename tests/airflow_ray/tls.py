"""Certificates of a private CA, and a listener that records what it is sent: a cluster's API as far as bytes go."""

import asyncio
import datetime
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass
class PrivateCa:
    """A CA that nobody knows, and a certificate for 127.0.0.1, ::1 and localhost that it has signed."""

    ca: Path
    chain: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.chain)
        return context


def private_ca(directory: Path) -> PrivateCa:
    now = datetime.datetime.now(datetime.UTC)

    def certificate(name: str, issuer: str, key: Any, signer: Any, is_ca: bool) -> x509.Certificate:
        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

        addresses = [x509.IPAddress(ipaddress.ip_address(a)) for a in ("127.0.0.1", "::1")]
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), *addresses]), critical=False)
        )
        return builder.sign(signer, hashes.SHA256())

    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = certificate("test CA", "test CA", ca_key, ca_key, True)
    server = certificate("localhost", "test CA", key, ca_key, False)
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "ca.pem").write_bytes(ca.public_bytes(pem))
    (directory / "chain.pem").write_bytes(server.public_bytes(pem) + secret)
    return PrivateCa(directory / "ca.pem", directory / "chain.pem")


@dataclass
class Listener:
    """What came in, in order: path and headers. While it has a status, that is its answer to everything."""

    port: int = 0
    status: int | None = None
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def headers(self, name: str) -> set[str | None]:
        """All values of a header, None where a request had none."""
        return {headers.get(name.lower()) for _, headers in self.seen}


USAGE = {"usageByNode": {"a": {"CPU": [2.0, 2.0]}}}
DETAILS = {"type": "SUBMISSION", "submission_id": "j", "job_id": "01", "status": "SUCCEEDED", "entrypoint": "x"}


@contextmanager
def listening(
    context: ssl.SSLContext | None = None,
    redirect: str | None = None,
    status: int | None = None,
    host: str = "127.0.0.1",
) -> Iterator[Listener]:
    """A listener that answers every request of the client as a head with one ended job would.

    Args:
        context: with TLS.
        redirect: every answer but the version is a redirect to this address.
        status: every answer has this status.
        host: to listen at.
    """
    listener, loop = Listener(status=status), asyncio.new_event_loop()

    async def answer(request: web.Request) -> web.StreamResponse:
        listener.seen.append((request.path, {k.lower(): v for k, v in request.headers.items()}))
        path = request.path
        if listener.status:
            return web.Response(status=listener.status)
        if path == "/api/version":
            return web.json_response({"version": "4", "ray_version": "2.60.0"})
        if redirect:
            return web.Response(status=307, headers={"Location": f"{redirect}{path}"})
        if path.endswith("/tail"):
            stream = web.WebSocketResponse()
            await stream.prepare(request)
            await stream.send_str("a line\n")
            await stream.close()
            return stream
        if path.endswith("/logs"):
            return web.json_response({"logs": "a line\n"})
        if path.endswith("/stop"):
            return web.json_response({"stopped": True})
        if path.startswith("/api/packages"):
            return web.Response(status=404 if request.method == "GET" else 200)
        if path == "/api/jobs/" and request.method == "POST":
            return web.json_response({"job_id": "j", "submission_id": "j"})
        if path == "/api/jobs/":
            return web.json_response([DETAILS])
        if path.startswith("/api/jobs/"):
            return web.json_response(DETAILS)
        if path == "/api/cluster_status":
            return web.json_response({"data": {"clusterStatus": {"loadMetricsReport": USAGE}}})
        if path.startswith("/api/v0/"):
            lists = {
                "result": [],
                "total": 0,
                "num_after_truncation": 0,
                "num_filtered": 0,
                "partial_failure_warning": "",
            }
            return web.json_response({"result": True, "msg": "", "data": {"result": lists}})
        return web.Response(status=404)

    async def start() -> web.AppRunner:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, host, 0, ssl_context=context)
        await site.start()
        listener.port = runner.addresses[0][1]
        return runner

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield listener
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
