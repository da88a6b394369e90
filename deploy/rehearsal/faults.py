"""``python -m deploy.rehearsal.faults [NAME …]``: break the running cluster in the middle of a DAG run, as root.

Each fault is shown to have fired; then the run must end as said, and the same request once more must succeed. A small
model and corpus keep a run to one or two minutes. ``make cluster-up STORAGE=volume`` comes first.
"""

import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from deploy.engine import Engine
from deploy.rehearsal.cluster_run import MODEL, Cluster, Run

STAMP = int(time.time()) % 1_000_000  # makes configurations new, so that nothing is found published


def conf(
    training: dict[str, Any] | None = None, inference: dict[str, Any] | None = None, seed: int = 0
) -> dict[str, Any]:
    """A request of the preset `tiny` with a model of two layers; ``seed`` of the corpus."""
    return {
        "preset": "tiny", "base_model": "/data/tiny-model", "max_steps": 60, "model_name": "faults",
        "max_perplexity_ratio": 9.0,
        "overrides": {
            "corpus": {"seed": seed},
            "training": {"epochs": 9, "checkpoint_every_steps": 20, "seed": STAMP, **(training or {})},
            "inference": inference or {},
        },
    }  # fmt: skip


def check(holds: bool, what: str, seen: object = "") -> None:
    if not holds:
        raise RuntimeError(f"not so: {what}; seen: {seen}")
    print(f"    {what}", flush=True)


def passed(run: Run, state: str = "success") -> dict[str, Any]:
    """Wait for the run's end, and return what it did."""
    ended = run.end()
    check(ended == state, f"the run ended with {state} after {time.monotonic() - run.begun:.0f} s", ended)
    return run.look()


def training(cluster: Cluster, name: str, **settings: Any) -> Run:
    """A run whose training has written a checkpoint and goes on."""
    run = Run(cluster, name, conf({"max_steps": 400, **settings, "seed": STAMP + sum(map(ord, name))}))
    run.wait(lambda: "checkpoint of step" in run.log("train"), "a checkpoint")
    return run


def whole(run: Run) -> dict[str, Any]:
    """A training without a step lost or doubled."""
    found = passed(run)
    steps = found["train"]["steps"]
    check(steps == list(range(1, len(steps) + 1)), f"{len(steps)} steps, each once")
    return found


def spark_worker(cluster: Cluster) -> None:
    """A Spark worker dies with shuffle files on it; the same rows come from a run without a fault."""
    run = Run(cluster, "spark", conf(seed=STAMP))
    workers = cluster.engine.containers("spark-worker")
    holder: list[str] = []

    def shuffles() -> bool:
        for worker in workers:
            if cluster.shell(worker, "find /tmp -name 'shuffle_*.data' -size +0 | head -1"):
                holder.append(worker)
        return bool(holder)

    run.wait(shuffles, "shuffle files on a worker")
    print("    " + cluster.kill(holder[0]))
    broken = passed(run)["corpus"]
    check(run.attempts("corpus") == 1, "in the first attempt")
    cluster.shell(cluster.engine.containers("airflow-scheduler")[0], f"rm -rf {broken['directory']}")
    again = passed(Run(cluster, "spark_again", run.conf))["corpus"]
    check(not again["reused"], "made anew without a fault")
    same = {"artifact": broken["artifact"], "digest": broken["digest"], "rows": broken["rows"]}
    check({key: again[key] for key in same} == same, f"the same snapshot: {same}", again)


def train_elastic(cluster: Cluster) -> None:
    """A Ray worker goes away in training that may go on with one worker, and comes back a minute later."""
    run = training(cluster, "elastic", min_workers=1, max_steps=1500)
    worker = cluster.engine.containers("ray-worker")[-1]
    cluster.engine.run("kill", worker)
    try:
        run.wait(lambda: "with 1 worker (2 before)" in run.log("train"), "training goes on with one worker")
    finally:
        cluster.engine.run("start", worker)
    run.wait(lambda: "there is room for more; 2 workers" in run.log("train"), "training takes the new worker in")
    whole(run)
    for line in run.log("train").splitlines():
        if "a worker was lost" in line or "there is room" in line:
            check(True, line)
    clean_log(run)


def train_fixed(cluster: Cluster) -> None:
    """The same where training needs both workers."""
    run = training(cluster, "fixed")
    print("    " + cluster.kill(cluster.engine.containers("ray-worker")[-1]))
    run.wait(lambda: "a worker was lost" in run.log("train"), "training sees it")
    whole(run)
    said = [line for line in run.log("train").splitlines() if "a worker was lost" in line]
    check("from the checkpoint of step" in said[0], said[0])
    clean_log(run)


def clean_log(run: Run) -> None:
    dumped = [line for line in run.log("train").splitlines() if "state-dump" in line or "(raylet" in line]
    check(len(dumped) < 10, f"{len(dumped)} lines of a raylet in the task's log", dumped[:3])


def predict(cluster: Cluster) -> None:
    """A Ray worker dies while the actor pool answers prompts."""
    settings = {
        "held_out_prompts": 200,
        "baseline_prompts": 0,
        "max_new_tokens": 120,
        "num_actors": 2,
        "window_rows": 8,
    }
    run = Run(cluster, "predict", conf(inference={**settings, "seed": STAMP}))
    run.wait(lambda: "rows" in run.log("predict") and "/s" in run.log("predict"), "rows are answered", 900)
    print("    " + cluster.kill(cluster.engine.containers("ray-worker")[-1]))
    check(run.state() == "running", "the run was still going on")
    found = passed(run)["predict"]
    check(found["count"] == found["distinct"] == 212, "212 prompts, 212 rows, none doubled", found)


def ray_head(cluster: Cluster) -> None:
    """The Ray head dies in training: the attempt is lost, the next one goes on from the checkpoint."""
    run = training(cluster, "head")
    print("    " + cluster.kill(cluster.engine.containers("ray-head")[0]))
    whole(run)
    check(
        "resumed from the checkpoint of step" in run.log("train"),
        f"attempt {run.attempts('train')} went on from a checkpoint",
    )


def postgres(cluster: Cluster) -> None:
    """PostgreSQL dies in training and comes back."""
    run = training(cluster, "postgres")
    print("    " + cluster.kill(cluster.engine.containers("postgres")[0]))
    whole(run)
    check(True, f"train took {run.attempts('train')} attempt(s)")


def scheduler(cluster: Cluster) -> None:
    """The scheduler dies in training, and with it the process that follows the job."""
    run = training(cluster, "scheduler")
    print("    " + cluster.kill(cluster.engine.containers("airflow-scheduler")[0]))
    whole(run)
    check(
        "following it" in run.log("train") or "taking its result" in run.log("train"),
        "the next attempt took over the job",
    )


def cut(cluster: Cluster, seconds: float = 40) -> Run:
    """The network between Airflow and Ray is cut for less than the operator's patience."""
    run = training(cluster, "cut")
    cluster.cut("airflow-scheduler", "ray-head", True)
    try:
        time.sleep(seconds)
        check("trying for" in run.log("train"), "the task misses Ray")
    finally:
        cluster.cut("airflow-scheduler", "ray-head", False)
    whole(run)
    return run


def cut_long(cluster: Cluster) -> None:
    """The same for longer than the operator's patience of five minutes."""
    run = cut(cluster, 400)
    check(run.attempts("train") > 1, f"train took {run.attempts('train')} attempts")


def store_is_away(cluster: Cluster) -> bool:
    try_it = "import socket; socket.create_connection(('s3', 8333), timeout=3)"
    return "rror" in cluster.shell(cluster.engine.containers("ray-head")[0], f'python -c "{try_it}" 2>&1')


def store(cluster: Cluster) -> None:
    """The S3 store cannot be reached for 30 s in training: a pause (needs STORAGE=s3)."""
    run = training(cluster, "store")
    cluster.close("s3", 8333, True)
    try:
        check(store_is_away(cluster), "nobody reaches the store")
        time.sleep(30)
    finally:
        cluster.close("s3", 8333, False)
    whole(run)
    check(run.attempts("train") == 1, "in the first attempt")
    lost = [line for line in run.log("train").splitlines() if "a worker was lost" in line]
    print(f"    {len(lost)} restarts of the workers {lost}")


def store_gone(cluster: Cluster) -> None:
    """The S3 store goes away in training, and comes back only after the attempt has failed (needs STORAGE=s3)."""
    run = training(cluster, "gone")
    cluster.close("s3", 8333, True)
    begun = time.monotonic()
    try:
        check(store_is_away(cluster), "nobody reaches the store")
        run.wait(lambda: "ERROR train" in run.log("train"), "the attempt ends with an error", 1200)
        said = [line for line in run.log("train").splitlines() if "ERROR train" in line][-1]
        check(
            "see that the store at http://s3:8333 runs" in said, f"after {time.monotonic() - begun:.0f} s: {said}", said
        )
    finally:
        cluster.close("s3", 8333, False)
    trained = run.look().get("train", {})
    check(trained.get("status") != "success" and not trained.get("artifact"), "no model is published", trained)
    whole(run)
    check(run.attempts("train") > 1, f"attempt {run.attempts('train')} of Airflow went on with the store")


def full_volume(cluster: Cluster) -> None:
    """The shared volume is full in training, and is emptied a minute later (needs small-volume.yaml)."""
    head = cluster.engine.containers("ray-head")[0]
    size = int(cluster.shell(head, "df --output=size -B1 /data | tail -1"))
    check(size < 8 << 30, f"/data has {size / 1e9:.1f} GB, few enough to fill it", size)
    run = training(cluster, "full", max_steps=1500)
    try:
        said = cluster.shell(head, "dd if=/dev/zero of=/data/filler bs=1M 2>&1")
        check("No space left" in said, "the volume is full", said)
        run.wait(lambda: "space" in run.log("train"), "training meets it")
        print("    " + next(line for line in run.log("train").splitlines() if "space" in line)[:300])
        time.sleep(30)
    finally:
        cluster.shell(head, "rm -f /data/filler")
    if run.end() == "failed":
        run.clear()
        check(True, "the run failed, and was cleared once the volume had room")
        time.sleep(5)
    whole(run)


FAULTS: dict[str, Callable[[Cluster], object]] = {
    f.__name__: f
    for f in (
        spark_worker, train_elastic, train_fixed, predict, ray_head, postgres, scheduler, cut, cut_long, full_volume, store, store_gone,
    )
}  # fmt: skip
ON_ANOTHER_STORAGE = ("full_volume", "store", "store_gone")  # only where they are named


def main(names: list[str]) -> int:
    cluster = Cluster(Engine.find())
    cluster.inside("ray-head", MODEL)
    failed = []
    names = names or [name for name in FAULTS if name not in ON_ANOTHER_STORAGE]
    for name in names:
        print(f"{name}: {(FAULTS[name].__doc__ or '').strip()}", flush=True)
        try:
            FAULTS[name](cluster)
            check(Run(cluster, f"{name}_after", conf()).end() == "success", "a plain run afterwards succeeds")
        except Exception:  # whatever did not hold: the other faults are tried all the same
            traceback.print_exc()
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else f"{len(names)} faults, all survived")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
