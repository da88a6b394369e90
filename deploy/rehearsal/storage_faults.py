"""Faults of the storage: an S3 store out of reach (needs STORAGE=s3), a full volume (needs small-volume.yaml)."""

import time

from deploy.rehearsal.cluster_run import Cluster
from deploy.rehearsal.runs import check, training, whole


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
