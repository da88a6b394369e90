"""The embedded default: Airflow's parts and a Ray head as child processes on loopback, everything under BATON_HOME."""

import contextlib
import hashlib
import json
import os
import secrets
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import psutil

from etl.java import find_java_home
from handoff.errors import EngineUnavailable
from handoff.home import baton_home
from orchestration.airflow_api import AirflowApi
from orchestration.paths import ALLOWED_ROOTS
from orchestration.policy import POOLS
from orchestration.ports import any_free_port

PROJECT = Path(__file__).resolve().parent.parent
SHARED = PROJECT / "deploy" / "shared.env"  # what docker-compose.yaml reads too
USER = "admin"
LAPTOP_ROOTS = "/"  # whoever triggers a run here also started the services, and may read what they may
START_TIMEOUT_SECONDS = 180
STOP_TIMEOUT_SECONDS = 30
STARTED = "=== started "
LARGEST_LOG_BYTES = 64 << 20  # at a start; the log before it is kept as .log.1
OBJECT_STORE_BYTES = 1 << 30  # of Ray; it spills to disk past that


class Services:
    """Start, find and stop the processes of one BATON_HOME. ``services.json`` there holds their ids."""

    def __init__(self) -> None:
        self.home = baton_home()
        self.logs = self.home / "logs"
        self._state = self.home / "services.json"
        self.ui_port = int(os.environ.get("BATON_UI_PORT", "8080"))
        self.ray_port = int(os.environ.get("BATON_RAY_PORT", "8265"))
        self.ui = f"http://127.0.0.1:{self.ui_port}"

    # -- what is running

    def running(self) -> dict[str, psutil.Process]:
        """Services of this home that are alive, by name. A process id that another process has by now does not count."""
        try:
            recorded = json.loads(self._state.read_text())
        except FileNotFoundError:
            return {}
        alive = {}
        for name, (pid, created) in recorded.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if abs(process.create_time() - created) < 1 and process.status() != psutil.STATUS_ZOMBIE:
                    alive[name] = process
        return alive

    @property
    def password(self) -> str:
        """Password of the user ``admin``, made at the first start."""
        return json.loads(self._passwords.read_text())[USER]

    @property
    def _passwords(self) -> Path:
        return self.home / "airflow" / "passwords.json"

    # -- start

    def start(self) -> None:
        """Start everything and wait until it answers.

        Raises:
            EngineUnavailable: a port is taken, or a service ended or did not answer in time; its log is named.
        """
        _require_free(self.ui_port, "the Airflow UI", "BATON_UI_PORT")
        _require_free(self.ray_port, "Ray's dashboard", "BATON_RAY_PORT")
        environment = self.environment()
        self._ensure_user()
        self.launch("ray")  # Airflow's database is made meanwhile
        with self._log("airflow-db") as log:
            subprocess.run(
                ["airflow", "db", "migrate"], env=environment, check=True, stdout=log, stderr=subprocess.STDOUT
            )
        # On two cores, four Airflow services that start at the same time make Ray miss its start-up limits: they come later.
        self.wait_for_ray()
        for name in ("api-server", "dag-processor", "scheduler", "triggerer"):
            self.launch(name)
        self._wait_until("api-server", lambda: not _is_free(self.ui_port))
        AirflowApi(self.ui, USER, self.password).make_pools(POOLS)

    def wait_for_ray(self) -> None:
        """Wait for Ray, and start it once more if it fails: it gives its parts 30 s, which is too short on a busy machine."""
        try:
            self._wait_until("ray", self._ray_is_up)
        except EngineUnavailable:
            self.launch("ray")
            self._wait_until("ray", self._ray_is_up)

    def launch(self, name: str) -> None:
        """Start one service, or start it again after its end."""
        commands = {
            "ray": self._ray_command(),
            "api-server": ["airflow", "api-server"],
            "dag-processor": ["airflow", "dag-processor"],
            "scheduler": ["airflow", "scheduler", "--skip-serve-logs"],
            "triggerer": ["airflow", "triggerer", "--skip-serve-logs"],
        }
        with self._log(name) as log:
            child = subprocess.Popen(
                commands[name],
                env=self.environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.home,
                start_new_session=True,
            )
        recorded = {n: (p.pid, p.create_time()) for n, p in self.running().items()}
        self._state.write_text(json.dumps({**recorded, name: (child.pid, psutil.Process(child.pid).create_time())}))

    def _log(self, name: str) -> IO[str]:
        """A service's log, to append to: what it wrote before it was started again is what one then looks for."""
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self.logs / f"{name}.log"
        if path.exists() and path.stat().st_size > LARGEST_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        log = path.open("a")
        log.write(f"{STARTED}{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n")
        log.flush()
        return log

    def _said(self, name: str) -> str:
        """What a service has written since its last start."""
        return (self.logs / f"{name}.log").read_text(errors="replace").rsplit(STARTED, 1)[-1]

    def _ray_is_up(self) -> bool:
        """Whether Ray is complete: its dashboard listens earlier, and ends again if the rest does not start."""
        return "--block" in self._said("ray") and not _is_free(self.ray_port)

    def _wait_until(self, name: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not ready():
            dead = name not in self.running()
            if dead or time.monotonic() > deadline:
                tail = self._said(name).strip().split("\n")[-1]
                self.stop()
                raise EngineUnavailable(
                    f"{name} {'ended' if dead else 'did not answer'} during its start: {tail}. "
                    f"Remedy: see {self.logs / name}.log"
                )
            time.sleep(0.2)

    def _ray_command(self) -> list[str]:
        # Sockets live below the temporary directory, and their paths may have 107 bytes at most.
        name = hashlib.sha256(str(self.home).encode()).hexdigest()[:8]
        private = Path(tempfile.gettempdir()) / f"baton-ray-{os.getuid()}-{name}"
        _make_private(private)
        temporary = private / "t"  # Ray makes it writable for everybody: nobody else gets through the one above
        # The agent's port too: its default is one for all Rays of a machine, and a Ray without it starts and takes no job.
        return [
            "ray", "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={any_free_port()}",
            "--dashboard-host=127.0.0.1", f"--dashboard-port={self.ray_port}", f"--temp-dir={temporary}",
            f"--ray-client-server-port={any_free_port()}", f"--dashboard-agent-listen-port={any_free_port()}", f"--object-store-memory={OBJECT_STORE_BYTES}", "--disable-usage-stats",
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """Environment of every service, and so of every task and job that they start."""
        airflow = self.home / "airflow"
        for directory in (airflow, self.home / "ray"):
            directory.mkdir(parents=True, exist_ok=True)
        token = _secret(self.home / "ray" / "token", secrets.token_hex(32))
        ray = {"conn_type": "ray", "host": "127.0.0.1", "port": self.ray_port, "password": token}
        spark = {"conn_type": "spark", "host": "local[*]", "extra": {"deploy-mode": "client"}}
        bin_directory = str(Path(sys.executable).parent)
        defaults = {
            # Laptop and cluster differ in the connections only: set them to a cluster's, and the same DAG runs there.
            "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps(spark),
            "AIRFLOW_CONN_RAY_DEFAULT": json.dumps(ray),
            ALLOWED_ROOTS: LAPTOP_ROOTS,
        }
        return {
            **defaults,
            **os.environ,
            **settings_of(SHARED),
            "PATH": f"{bin_directory}:{os.environ['PATH']}",
            "PYTHONPATH": str(PROJECT),
            "BATON_HOME": str(self.home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "JAVA_HOME": find_java_home(self.home / "cache"),
            "RAY_AUTH_TOKEN_PATH": str(self.home / "ray" / "token"),
            # `ray start` turns 127.0.0.1 into the machine's outer address and listens on every interface, except
            # where clusters are off, as they are by default on macOS and Windows. A cluster of one needs no more.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "AIRFLOW_HOME": str(airflow),
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.ui}/execution/",
            "AIRFLOW__CORE__FERNET_KEY": "",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self._passwords),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{airflow / 'airflow.db'}",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.ui_port),
            "AIRFLOW__API__BASE_URL": self.ui,
            "AIRFLOW__API__SECRET_KEY": _secret(airflow / "api-secret", secrets.token_hex(32)),
            "AIRFLOW__API_AUTH__JWT_SECRET": _secret(airflow / "jwt-secret", secrets.token_hex(32)),
        }

    def _ensure_user(self) -> None:
        if not self._passwords.exists():
            _secret(self._passwords, json.dumps({USER: secrets.token_urlsafe(12)}))

    # -- stop

    def stop(self) -> list[str]:
        """Stop what this home started, and only that; returns the names of what was running."""
        alive = self.running()
        order = (
            ("scheduler", "triggerer", "dag-processor"),
            ("api-server", "ray"),
        )  # tasks end before the services that they talk to
        for together in order:
            _end([alive[name] for name in together if name in alive])
        self._state.unlink(missing_ok=True)
        return [name for together in order for name in together if name in alive]


def _end(processes: list[psutil.Process]) -> None:
    """Ask processes to end, then kill them and the children that they leave behind."""
    family = list(processes)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            family += process.children(recursive=True)
            process.send_signal(signal.SIGTERM)
    psutil.wait_procs(processes, timeout=STOP_TIMEOUT_SECONDS)
    _, left = psutil.wait_procs(family, timeout=3)
    for survivor in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            survivor.kill()


def settings_of(file: Path) -> dict[str, str]:
    """Settings of a file with a NAME=VALUE a line; empty lines and those that begin with # are left out."""
    lines = (line.strip() for line in file.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _make_private(directory: Path) -> None:
    """Make a directory that only this user can enter.

    Raises:
        EngineUnavailable: something is there that belongs to somebody else, or is no directory.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise EngineUnavailable(f"{directory} is not this user's own directory. Remedy: remove it, or set TMPDIR")
    directory.chmod(0o700)


def _secret(path: Path, fresh: str) -> str:
    """Content of a file that only this user can read; created with ``fresh`` if it does not exist."""
    if not path.exists():
        with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            file.write(fresh)
    return path.read_text()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _require_free(port: int, what: str, variable: str) -> None:
    if not _is_free(port):
        raise EngineUnavailable(
            f"port {port}, where {what} should listen, is taken. "
            f"Remedy: end what listens there (`ss -ltnp | grep {port}`), or set {variable} to a free port"
        )
