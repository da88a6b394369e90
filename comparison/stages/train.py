"""Does the launcher matter? The project's own DeepSpeed step, blocks and two workers, started in each engine's way."""

from dataclasses import asdict

from comparison.form import Form, Stage, Work
from comparison.stages.shared.launch import prepared, ray_options, ray_worker, torchrun
from comparison.stages.shared.steps import WORKERS, Training, noted, train


def spark_distributor(work: Work) -> dict[str, float]:
    """A barrier stage, as on a cluster: each task starts torchrun for one worker."""
    from pyspark.ml.torch.distributor import TorchDistributor

    training = prepared(work)
    TorchDistributor(num_processes=WORKERS, local_mode=False, use_gpu=False).run(train, training)
    return _figures(training)


def spark_local(work: Work) -> dict[str, float]:
    """The driver starts torchrun for all workers: Spark's way on one machine."""
    from pyspark.ml.torch.distributor import TorchDistributor

    training = prepared(work)
    TorchDistributor(num_processes=WORKERS, local_mode=True, use_gpu=False).run(train, training)
    return _figures(training)


def spark_deepspeed(work: Work) -> dict[str, float]:
    """Spark's distributor for DeepSpeed in a barrier stage; the engine's settings are those of the step."""
    from pyspark.ml.deepspeed.deepspeed_distributor import DeepspeedTorchDistributor

    training = prepared(work)
    DeepspeedTorchDistributor(numGpus=1, nnodes=WORKERS, localMode=False, useGpu=False).run(train, training)
    return _figures(training)


def ray_trainer(work: Work) -> dict[str, float]:
    """Ray Train's controller and two worker actors."""
    from ray.train import RunConfig
    from ray.train.torch import TorchTrainer

    training = prepared(work)
    place = RunConfig(name="train", storage_path=str(work.scratch / "training" / "ray"))
    TorchTrainer(ray_worker, train_loop_config=asdict(training), run_config=place, **ray_options(work)).fit()
    return _figures(training)


def python_torchrun(work: Work) -> dict[str, float]:
    """torchrun without an engine."""
    training = prepared(work)
    torchrun(work, training)
    return _figures(training)


def _figures(training: Training) -> dict[str, float]:
    """Seconds of all steps; the rest of the run is start and end."""
    stepping = noted(training, "stepping")
    assert stepping is not None, "rank 0 has not come to its end"
    return {"stepping_seconds": stepping}


STAGE = Stage(
    name="train",
    title="Train on two workers",
    question="How long do 24 DeepSpeed steps on two workers take, start included, under each launcher?",
    forms=(
        Form("spark", "distributor", spark_distributor, kernel="Stepper", tunable=False),
        Form("spark", "local", spark_local, kernel="Stepper", tunable=False),
        Form("spark", "deepspeed", spark_deepspeed, kernel="Stepper", tunable=False),
        Form("ray", "trainer", ray_trainer, kernel="Stepper"),
        Form("python", "torchrun", python_torchrun, kernel="Stepper", tunable=False),
    ),
    compared="close",
    tolerance=1e-5,
    scales=False,
)
