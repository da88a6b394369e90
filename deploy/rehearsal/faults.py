"""``python -m deploy.rehearsal.faults [NAME …]``: break the running cluster in the middle of a DAG run, as root.

Each fault is shown to have fired; then the run must end as said, and the same request once more must succeed. A small
model and corpus keep a run to one or two minutes. ``make cluster-up STORAGE=volume`` comes first.
"""

import sys
import time
import traceback
from collections.abc import Callable

from deploy.engine import Engine
from deploy.rehearsal.cluster_run import MODEL, Cluster, Run
from deploy.rehearsal.runs import STAMP, check, clean_log, conf, passed, training, whole
from deploy.rehearsal.storage_faults import full_volume, store, store_gone


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


def scaled(cluster: Cluster) -> None:
    """No fault: two more Ray workers and one more Spark worker join, and a run uses them."""
    numbers = {"ray-worker": 4, "spark-worker": 3}
    for service, count in numbers.items():  # podman-compose takes the last --scale of a call alone
        cluster.engine.call_compose("up", "-d", "--no-deps", "--scale", f"{service}={count}", service, profiles=())
        found = cluster.engine.containers(service)
        check(len(found) == count, f"{count} containers of {service}", found)
        deadline = time.monotonic() + 120
        while not all(map(cluster.engine.healthy, found)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{service} is not healthy")
            time.sleep(2)
    run = Run(cluster, "scaled", conf({"num_workers": 4, "seed": STAMP + 1}, seed=STAMP + 1))
    whole(run)
    check("train: 4 workers are ready" in run.log("train"), "four workers trained")


FAULTS: dict[str, Callable[[Cluster], object]] = {
    f.__name__: f
    for f in (
        spark_worker, train_elastic, train_fixed, predict, ray_head, postgres, scheduler, cut, cut_long, full_volume, store, store_gone, scaled,
    )
}  # fmt: skip
ON_ANOTHER_CLUSTER = ("full_volume", "store", "store_gone", "scaled")  # only where they are named


def main(names: list[str]) -> int:
    cluster = Cluster(Engine.find())
    cluster.inside("ray-head", MODEL)
    failed = []
    names = names or [name for name in FAULTS if name not in ON_ANOTHER_CLUSTER]
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
