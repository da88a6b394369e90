"""A run of the training DAG on the cluster in containers, from outside: what it did, and what a fault may do to it.

Kills are signals from this machine to a container's first process: engines leave a container down that they themselves
killed, whatever its restart policy. They need root.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

from deploy import env_file
from deploy.cluster import ENV
from deploy.engine import Engine
from orchestration.airflow_api import AirflowApi
from orchestration.services import USER

DAG = "spark_to_ray"
RUN_SECONDS = 1500.0
ENDED = {"success", "failed"}

MODEL = """
import torch, pathlib
from tokenizers import ByteLevelBPETokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
if not pathlib.Path("/data/tiny-model/config.json").exists():
    end, bpe = "<|endoftext|>", ByteLevelBPETokenizer()
    bpe.train_from_iterator(["to be or not to be"], vocab_size=384, special_tokens=[end])
    PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, eos_token=end, bos_token=end, pad_token=end).save_pretrained("/data/tiny-model")
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(vocab_size=384, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512, bos_token_id=0, eos_token_id=0)).save_pretrained("/data/tiny-model")
"""

LOOK = """
import hashlib, json, sys
import pyarrow.parquet as pq
from handoff.run_dir import RunDir
from handoff.store import resolve
from orchestration.paths import run_uri
run, found = RunDir(run_uri("spark_to_ray", sys.argv[1])), {}
for record in run.records():
    found[record.stage] = {"status": record.status, "artifact": record.artifact, "reused": record.reused, "error": record.error}
    if record.artifact is None or record.status != "success" or record.stage not in ("corpus", "train", "predict"):
        continue
    artifact = run.artifact(record.stage)
    found[record.stage] |= {"rows": artifact.manifest.rows, "directory": artifact.directory}
    if record.stage == "train":
        found["train"]["steps"] = [step["step"] for step in artifact.manifest.facts["steps"]]
        continue
    text, ids = hashlib.sha256(), []
    for file in filter(lambda f: f.endswith(".parquet"), artifact.files()):
        place, path = resolve(file)
        with place.open_input_file(path) as stream:
            rows = pq.read_table(stream).to_pylist()
        ids += [row["row_id" if "row_id" in row else "id"] for row in rows]
        for row in rows:
            row.pop("seconds", None)
            text.update(json.dumps(row, sort_keys=True).encode())
    found[record.stage] |= {"digest": text.hexdigest()[:16], "count": len(ids), "distinct": len(set(ids))}
print(json.dumps(found))
"""


class Cluster:
    """The running cluster."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        settings = env_file.read(ENV)
        self._ui, self._password = (
            f"http://127.0.0.1:{settings.get('UI_PORT', '8080')}",
            settings["AIRFLOW_ADMIN_PASSWORD"],
        )

    @property
    def api(self) -> AirflowApi:
        return AirflowApi(self._ui, USER, self._password)

    def inside(self, service: str, code: str, *arguments: str) -> str:
        """What a Python program prints in a service's first container."""
        container = self.engine.containers(service)[0]
        return self.engine.run("exec", container, "python", "-W", "ignore", "-c", code, *arguments).stdout.strip()

    def shell(self, container: str, command: str) -> str:
        return self.engine.run("exec", container, "sh", "-c", command, check=False).stdout.strip()

    def pid(self, container: str) -> int:
        return int(self.engine.state(container)["Pid"])

    def kill(self, container: str) -> str:
        """Kill a container as a machine that loses power would; returns what shows that it happened.

        Raises:
            RuntimeError: it does not come back.
        """
        before = self.engine.state(container)["StartedAt"]
        os.kill(self.pid(container), signal.SIGKILL)
        begun = time.monotonic()
        while time.monotonic() - begun < 120:
            state = self.engine.state(container)
            if state["Running"] and state["StartedAt"] != before:
                return f"{container} killed, started again after {time.monotonic() - begun:.0f} s"
            time.sleep(0.5)
        raise RuntimeError(f"{container} was killed and did not start again")

    def cut(self, service: str, other: str, on: bool) -> None:
        """Drop what one service sends to another, or stop doing so."""
        address = self.shell(self.engine.containers(service)[0], f"getent hosts {other}").split()[0]
        self._drop(service, on, "OUTPUT", "-d", address)

    def close(self, service: str, port: int, on: bool) -> None:
        """Drop what reaches a port of a service, from wherever it comes, or stop doing so."""
        self._drop(service, on, "INPUT", "-p", "tcp", "--dport", str(port))

    def _drop(self, service: str, on: bool, *rule: str) -> None:
        command = ["nsenter", "-t", str(self.pid(self.engine.containers(service)[0])), "-n", "iptables"]
        subprocess.run([*command, "-I" if on else "-D", *rule, "-j", "DROP"], check=True)


class Run:
    """One run of the DAG."""

    def __init__(self, cluster: Cluster, name: str, conf: dict[str, Any]) -> None:
        self.cluster, self.conf, self.begun = cluster, conf, time.monotonic()
        self.id = f"fault_{name}_{int(time.time())}"
        cluster.api.set_paused(DAG, False)
        cluster.api.trigger(DAG, self.id, conf)

    def state(self) -> str:
        return self.cluster.api.run_state(DAG, self.id)

    def attempts(self, task: str) -> int:
        return next(t["try_number"] for t in self.cluster.api.task_instances(DAG, self.id) if t["task_id"] == task)

    def log(self, task: str) -> str:
        """Logs of all attempts of a task so far."""
        texts = []
        for attempt in range(1, 9):
            try:
                texts.append(self.cluster.api.task_log(DAG, self.id, task, attempt))
            except RuntimeError:
                break
        return "\n".join(texts)

    def wait(self, done: Callable[[], bool], what: str, seconds: float = 600.0) -> None:
        """Wait for something of this run.

        Raises:
            RuntimeError: the run ended before, or it took too long.
        """
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline or self.state() in ENDED:
                raise RuntimeError(f"{self.id} is {self.state()}, and this did not happen: {what}")
            time.sleep(0.5)

    def end(self) -> str:
        """Wait for the run's end, through an API server that restarts; returns its state."""
        deadline = time.monotonic() + RUN_SECONDS
        while time.monotonic() < deadline:
            try:
                if (state := self.state()) in ENDED:
                    return state
            except (OSError, RuntimeError):
                pass
            time.sleep(2)
        return f"still running after {RUN_SECONDS:.0f} s"

    def look(self) -> dict[str, Any]:
        return dict(json.loads(self.cluster.inside("airflow-api-server", LOOK, self.id).splitlines()[-1]))

    def clear(self) -> None:
        """The plain retry: clear what failed."""
        body = {"dry_run": False, "dag_run_id": self.id, "only_failed": True, "reset_dag_runs": True}
        self.cluster.api._call("POST", f"/api/v2/dags/{DAG}/clearTaskInstances", json=body)
