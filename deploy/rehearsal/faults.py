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
    """A Ray worker dies in training that may go on with one worker."""
    run = training(cluster, "elastic", min_workers=1)
    print("    " + cluster.kill(cluster.engine.containers("ray-worker")[-1]))
    run.wait(lambda: "a worker was lost" in run.log("train"), "training sees it")
    whole(run)
    said = [line for line in run.log("train").splitlines() if "a worker was lost" in line or "there is room" in line]
    check("with 1 worker (2 before)" in " ".join(said), " / ".join(said))
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


FAULTS: dict[str, Callable[[Cluster], object]] = {
    f.__name__: f
    for f in (spark_worker, train_elastic, train_fixed, predict, ray_head, postgres, scheduler, cut, cut_long)
}


def main(names: list[str]) -> int:
    cluster = Cluster(Engine.find())
    cluster.inside("ray-head", MODEL)
    failed = []
    for name in names or FAULTS:
        print(f"{name}: {(FAULTS[name].__doc__ or '').strip()}", flush=True)
        try:
            FAULTS[name](cluster)
            check(Run(cluster, f"{name}_after", conf()).end() == "success", "a plain run afterwards succeeds")
        except Exception:
            traceback.print_exc()
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else f"{len(names or FAULTS)} faults, all survived")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
