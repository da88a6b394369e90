"""How many tasks read and tokenise beside the training workers."""

from training.config import TrainingConfig

MOST_DATA_TASKS = 8  # tokenising runs at half a million tokens a second and task: more than any worker group consumes


def data_slots(config: TrainingConfig) -> tuple[float, int]:
    """CPU slots per read-and-tokenise task, and how many such tasks may run.

    Ray runs a task only where a CPU slot is free, and workers hold theirs to the end: on a cluster that they fill,
    a task that asks for a whole CPU would wait for ever, and the workers for it. So tasks ask for a CPU where the
    workers leave some over for good, and otherwise for none: one at a time, it shares the workers' cores
    (tokenising takes under 1 % of a CPU training step's time).
    """
    import ray

    if config.min_workers:  # whatever is free may be gone after a node is
        return (0.0, 1)
    spare = int(ray.cluster_resources().get("CPU", 0) - config.num_workers * config.cpus_per_worker + 1e-6)
    return (1.0, min(spare, MOST_DATA_TASKS)) if spare >= 1 else (0.0, 1)
