"""The S3 server of the stand-in for SeaweedFS: moto. It forgets everything when it ends, and answers who has the key."""

import os
from collections.abc import Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

os.environ["MOTO_S3_DEFAULT_KEY_BUFFER_SIZE"] = (
    "65536"  # what is larger lies in files: its container may take 1 GiB of memory
)
KEY = f"Credential={os.environ['S3_ACCESS_KEY']}/"
moto = DomainDispatcherApplication(create_backend_app)


def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/healthz":
        start("200 OK", [])
        return [b""]
    if KEY not in environ.get("HTTP_AUTHORIZATION", ""):
        start("403 Forbidden", [("Content-Type", "application/xml")])
        return [b"<Error><Code>InvalidAccessKeyId</Code><Message>no such key</Message></Error>"]
    return moto(environ, start)


run_simple("0.0.0.0", 8333, answer, threaded=True)
