"""``python -m deploy.cluster up|demo|down|clean|test``: the cluster of docker-compose.yaml; what `make cluster-…` calls."""

import argparse
import subprocess
import sys
import time

from deploy import env_file
from deploy.engine import PROJECT, Engine, NoEngine, remove_volumes, start, stop

ENV = PROJECT / ".env"
IMAGES = ("airflow", "spark", "ray")


def up(engine: Engine, storage: str | None, build: bool) -> None:
    """Make .env, build the images, start everything, wait until it is healthy, and print the addresses."""
    settings = env_file.ensure(ENV, storage)
    begun = time.monotonic()
    if build:
        print("building the images (minutes, once) ...", flush=True)
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True
        ).stdout.strip()
        arguments = ["--build-arg", f"BATON_COMMIT={commit or 'unknown'}"]
        engine.call_compose("build", *arguments, "airflow-api-server", "spark-master", "ray-head")
    print(f"storage: {settings['BATON_STORAGE']}; starting ...", flush=True)
    start(engine, [name for name in settings.get("COMPOSE_PROFILES", "").split(",") if name])
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


def test(engine: Engine, conf: str) -> int:
    """Everything unattended on a shared volume: up, the demo, the same demo again from what is published, clean.

    Refuses to touch a cluster that somebody uses.
    """
    if ENV.exists():
        raise RuntimeError(f"{ENV} exists: a cluster is in use. Remedy: make cluster-clean, which removes its data")
    try:
        up(engine, "volume", build=True)
        code = demo(engine, conf)
        if code == 0:
            print("once more: every artifact is found", flush=True)
            code = demo(engine, conf)
        print("cluster-test passed" if code == 0 else "cluster-test FAILED", flush=True)
        return code
    finally:
        clean(engine)


def clean(engine: Engine) -> None:
    """Stop everything and remove volumes and .env."""
    env_file.ensure(ENV)  # compose reads the file, and refuses to do anything without secrets
    stop(engine, "--volumes")
    remove_volumes(engine)
    ENV.unlink()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.cluster", description=__doc__)
    parser.add_argument("command", choices=["up", "demo", "down", "clean", "test"])
    parser.add_argument("--storage", choices=env_file.STORAGES, help="s3 (at first) or volume; kept in .env")
    parser.add_argument("--no-build", action="store_true", help="use the images that are there")
    parser.add_argument("--conf", default="{}", help="form fields as JSON, for demo")
    chosen = parser.parse_args(arguments)
    try:
        engine = Engine.find()
    except NoEngine as reason:
        print(f"SKIPPED: {reason}" if chosen.command == "test" else f"ERROR: {reason}", file=sys.stderr)
        return 0 if chosen.command == "test" else 1
    try:
        if chosen.command == "up":
            up(engine, chosen.storage, not chosen.no_build)
        elif chosen.command == "demo":
            return demo(engine, chosen.conf)
        elif chosen.command == "test":
            return test(engine, chosen.conf)
        elif chosen.command == "clean":
            clean(engine)
            print("stopped; volumes and .env are removed")
        else:
            env_file.ensure(ENV)
            stop(engine)
            print("stopped; volumes and .env are kept")
    except (RuntimeError, ValueError) as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
