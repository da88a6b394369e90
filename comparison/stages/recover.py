"""What does a killed worker cost? The training of the stage ``train``, with rank 1 killed once half-way through."""

from collections.abc import Callable
from dataclasses import asdict

from comparison.form import Form, Stage, Work
from comparison.stages.shared.launch import STEPS, prepared, ray_options, ray_worker, torchrun
from comparison.stages.shared.steps import WORKERS, Training, noted, train

KILL_AT = STEPS // 2 + 1  # checkpoints are written every five steps: three have to be made again
RETRIES = 1


def spark_distributor(work: Work) -> dict[str, float]:
    """A barrier stage fails as a whole; the caller starts it again, and it goes on from its checkpoint."""
    from pyspark.ml.torch.distributor import TorchDistributor

    training = prepared(work, kill_at=KILL_AT, shared=True)
    distributor = TorchDistributor(num_processes=WORKERS, local_mode=False, use_gpu=False)
    _with_retries(lambda: distributor.run(train, training), training)
    return _figures(training)


def spark_local(work: Work) -> dict[str, float]:
    """torchrun on the driver ends with an error; the caller starts it again from its checkpoint."""
    from pyspark.ml.torch.distributor import TorchDistributor

    training = prepared(work, kill_at=KILL_AT, shared=True)
    distributor = TorchDistributor(num_processes=WORKERS, local_mode=True, use_gpu=False)
    _with_retries(lambda: distributor.run(train, training), training)
    return _figures(training)


def ray_trainer(work: Work) -> dict[str, float]:
    """Ray Train starts a new group of workers by itself, and gives them its last checkpoint."""
    from ray.train import FailureConfig, RunConfig
    from ray.train.torch import TorchTrainer

    training = prepared(work, kill_at=KILL_AT)
    storage, failures = str(work.scratch / "training" / "ray"), FailureConfig(max_failures=RETRIES)
    place = RunConfig(name="recover", storage_path=storage, failure_config=failures)
    TorchTrainer(ray_worker, train_loop_config=asdict(training), run_config=place, **ray_options(work)).fit()
    return _figures(training)


def python_torchrun(work: Work) -> dict[str, float]:
    """torchrun's agent starts all workers again; they read their own checkpoint."""
    training = prepared(work, kill_at=KILL_AT, shared=True)
    torchrun(work, training, "--max-restarts", str(RETRIES))
    return _figures(training)


def _with_retries(launch: Callable[[], None], training: Training) -> None:
    """Launch, and again after the kill. An error before it is raised as it is."""
    for left in reversed(range(RETRIES + 1)):
        try:
            return launch()
        except Exception:  # a RuntimeError of torchrun, or Spark's own of the failed stage
            if not left or noted(training, "killed") is None:
                raise
    return None


def _figures(training: Training) -> dict[str, float]:
    """Restarts, steps made twice (all where no checkpoint was known yet), and seconds from the kill until training was back."""
    killed, back = noted(training, "killed"), noted(training, "back")
    assert killed is not None, "no worker was killed: there was nothing to recover from"
    assert back is not None, "training never came back to the step of the kill"
    resumed_from = noted(training, "attempt-1")
    assert resumed_from is not None, "there was no second attempt"
    return {"restarts": 1.0, "steps_repeated": KILL_AT - resumed_from, "lost_seconds": back - killed}


STAGE = Stage(
    name="recover",
    title="Train, with one worker killed half-way",
    question="How long is it from a worker's death until two workers are where they were, with the same losses?",
    forms=(
        Form("spark", "distributor", spark_distributor, kernel="Stepper", tunable=False),
        Form("spark", "local", spark_local, kernel="Stepper", tunable=False),
        Form("ray", "trainer", ray_trainer, kernel="Stepper"),
        Form("python", "torchrun", python_torchrun, kernel="Stepper", tunable=False),
    ),
    compared="close",
    tolerance=1e-5,
    scales=False,
)
