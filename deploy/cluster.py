"""``python -m deploy.cluster up|demo|down|clean``: the cluster of docker-compose.yaml; what `make cluster-…` calls."""

import argparse
import subprocess
import sys
import time

from deploy import env_file
from deploy.engine import PROJECT, Engine, NoEngine, start

ENV = PROJECT / ".env"
IMAGES = ("airflow", "spark", "ray")


def up(engine: Engine, storage: str | None, build: bool) -> None:
    """Make .env, build the images, start everything, wait until it is healthy, and print the addresses."""
    settings = env_file.ensure(ENV, storage)
    begun = time.monotonic()
    if build:
        print("building the images (minutes, once) ...", flush=True)
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True).stdout.strip()
        arguments = ["--build-arg", f"BATON_COMMIT={commit or 'unknown'}"]
        engine.call_compose("build", *arguments, "airflow-api-server", "spark-master", "ray-head")
    print(f"storage: {settings['BATON_STORAGE']}; starting ...", flush=True)
    start(engine, settings.get("COMPOSE_PROFILES", "").split(","))
    print(f"the cluster is healthy after {time.monotonic() - begun:.0f} s")
    ui = f"http://127.0.0.1:{settings.get('UI_PORT', '8080')}"
    print(f"Airflow  {ui}  user admin  password {settings['AIRFLOW_ADMIN_PASSWORD']}")


def demo(engine: Engine, conf: str) -> int:
    """Run the demo in the API server's container; returns its exit code."""
    found = engine.containers("airflow-api-server")
    if not found:
        raise RuntimeError("the cluster is not up. Remedy: make cluster-up")
    command = [engine.command, "exec", found[0], "python", "-m", "deploy.demo", "--conf", conf]
    return subprocess.run(command).returncode


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.cluster", description=__doc__)
    parser.add_argument("command", choices=["up", "demo", "down", "clean"])
    parser.add_argument("--storage", choices=env_file.STORAGES, help="s3 (at first) or volume; kept in .env")
    parser.add_argument("--no-build", action="store_true", help="use the images that are there")
    parser.add_argument("--conf", default="{}", help="form fields as JSON, for demo")
    chosen = parser.parse_args(arguments)
    try:
        engine = Engine.find()
        if chosen.command == "up":
            up(engine, chosen.storage, not chosen.no_build)
        elif chosen.command == "demo":
            return demo(engine, chosen.conf)
        else:
            env_file.ensure(ENV)  # compose reads the file, and refuses to do anything without secrets
            engine.call_compose("down", *(["--volumes"] if chosen.command == "clean" else []))
            print("stopped; volumes and .env are kept" if chosen.command == "down" else "stopped, volumes removed")
            if chosen.command == "clean":
                ENV.unlink()
    except (NoEngine, RuntimeError, ValueError) as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
