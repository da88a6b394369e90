"""What the predictions are made from: the tuned model, its base and its corpus, found through the manifest's parents."""

from dataclasses import dataclass

from handoff.artifact import Artifact, open_artifact
from handoff.errors import ConfigError
from handoff.run_dir import RunDir
from inference.config import InferenceConfig

CODE_VERSION = 4  # part of the id: raise it when the same model, prompts and settings give other predictions


@dataclass(frozen=True)
class Inputs:
    """The models and, where there is one, the corpus."""

    tuned: Artifact
    base: Artifact | None
    corpus: Artifact | None


def find_inputs(run: RunDir, config: InferenceConfig) -> Inputs:
    """Open the run's model and what it was made from, as far as the configuration needs it.

    Raises:
        ArtifactError: one of them is missing or differs from its manifest.
        ConfigError: a baseline is wanted and the model has no base model among its parents.
    """
    tuned = run.artifact(model_stage(run))
    base = corpus = None
    if config.baseline_prompts:
        if (base_id := tuned.manifest.parent("model")) is None:
            raise ConfigError(
                f"baseline_prompts: {tuned.id} was not tuned from a model of this store. Remedy: set it to 0"
            )
        base = open_artifact(run.store, base_id)
    corpus_id = tuned.manifest.parent("corpus")
    if config.prompts is None and config.held_out_prompts and corpus_id:
        corpus = open_artifact(run.store, corpus_id)
    return Inputs(tuned, base, corpus)


def model_stage(run: RunDir) -> str:
    """The stage that has the model: ``train``, or in a run of inference alone ``plan``, which chose it."""
    return "train" if "train" in run.stages else "plan"


def parents_of(inputs: Inputs, prompts: Artifact) -> list[Artifact]:
    """The artifacts that the predictions are made from, and that their id follows from."""
    return [artifact for artifact in (inputs.tuned, inputs.base, prompts) if artifact is not None]
