"""A model on the hub is looked into by its small files and headers alone: a server that speaks as the hub does counts bytes."""

import http.server
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handoff.errors import SourceError
from handoff.store import Store
from training.base_model import look_into, publish_base_model
from training.config import BaseModelConfig

NAME, COMMIT = "owner/tiny", "0" * 40


class Hub(http.server.BaseHTTPRequestHandler):
    """The hub's answers for one repository: its list of files, their heads, and parts of them."""

    directory: Path
    sent: dict[str, int]

    def do_GET(self) -> None:
        if f"/api/models/{NAME}/tree/" in self.path:
            kept = [f for f in self.directory.iterdir() if f.is_file()]
            tree = [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": "0" * 40} for f in kept]
            return self._answer(json.dumps(tree).encode())
        if f"/api/models/{NAME}" in self.path:
            files = [{"rfilename": f.name} for f in self.directory.iterdir()]
            return self._answer(json.dumps({"id": NAME, "sha": COMMIT, "siblings": files}).encode())
        content = self._file()
        if content is None:
            return self._answer(b"", 404, {"X-Error-Code": "EntryNotFound"})
        asked = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("range", ""))
        part = content[int(asked[1]) : int(asked[2]) + 1] if asked else content
        if self.command == "GET":
            self.sent[self.path.rsplit("/", 1)[-1]] = self.sent.get(self.path.rsplit("/", 1)[-1], 0) + len(part)
        size = {"Content-Range": f"bytes 0-{len(part) - 1}/{len(content)}"} if asked else {}
        return self._answer(
            part, 206 if asked else 200, {"ETag": f'"{hash(content)}"', "X-Repo-Commit": COMMIT, **size}
        )

    do_HEAD = do_GET

    def _file(self) -> bytes | None:
        found = re.fullmatch(rf"/{NAME}/resolve/[^/]+/([^/?]+)", self.path)
        file = self.directory / found[1] if found else None
        return file.read_bytes() if file and file.is_file() else None

    def _answer(self, body: bytes, code: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    from huggingface_hub import constants, hf_api

    directory = Path(shutil.copytree(tiny_model, tmp_path / "repository"))
    handler = type("Handler", (Hub,), {"directory": directory, "sent": {}})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(hf_api.api, "endpoint", address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield handler
    server.shutdown()


def test_a_model_is_described_by_its_headers(hub: type[Hub]) -> None:
    whole = (hub.directory / "model.safetensors").stat().st_size
    seen = look_into(BaseModelConfig(source=NAME), Path("unused"))
    assert "LlamaForCausalLM" in seen.line and "owner/tiny" in seen.line
    assert 0 < hub.sent["model.safetensors"] <= 100_001 < whole


def test_other_weights_than_the_models_are_refused_before_they_are_fetched(hub: type[Hub]) -> None:
    settings = json.loads((hub.directory / "config.json").read_text())
    (hub.directory / "config.json").write_text(json.dumps(settings | {"num_hidden_layers": 3}))
    with pytest.raises(SourceError, match=r"the weights of owner/tiny .* lack 9 of the model's \(model\.layers\.2\."):
        look_into(BaseModelConfig(source=NAME), Path("unused"))
    assert hub.sent["model.safetensors"] <= 100_001


def test_pickled_weights_are_not_fetched_by_the_plan(hub: type[Hub]) -> None:
    (hub.directory / "model.safetensors").rename(hub.directory / "pytorch_model.bin")
    line = look_into(BaseModelConfig(source=NAME), Path("unused")).line
    assert "pickled: they are compared with its class once they are fetched" in line
    assert "pytorch_model.bin" not in hub.sent


def test_training_fetches_the_weights_that_are_loaded_and_no_others(hub: type[Hub], store: Store) -> None:
    for name in ("consolidated.safetensors", "pytorch_model.bin"):
        shutil.copy(hub.directory / "model.safetensors", hub.directory / name)
    model = publish_base_model(BaseModelConfig(source=NAME), store, Path("unused"))
    assert {f.path.rsplit(".", 1)[-1] for f in model.manifest.files} == {"json", "safetensors"}
    assert "consolidated.safetensors" not in hub.sent and "pytorch_model.bin" not in hub.sent
