"""Which settings make another artifact: every field of every configuration stands on one side, and is listed here."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from etl.config import CorpusConfig
from evaluation.config import EvaluationConfig, gate_against_base
from handoff.identity import identity_of, mark_of
from inference.config import InferenceConfig
from orchestration.run_config import ComparisonRunConfig, InferenceRunConfig, RunConfig
from training.config import TrainingConfig

# Per class: fields that make another artifact, fields that do not, fields that do in some configurations.
SIDES = {
    "CorpusConfig": (
        "source more_sources passage_chars cleaning language quality privacy dedup decontamination split layout "
        "keep_rejects seed",
        "max_lost_share", "",
    ),
    "SourceConfig": (
        "text_column completion_column id_column encoding name share priority max_mib", "uri sha256 members exclude", "",
    ),
    "CleaningConfig": ("normalize_unicode repair_mojibake join_wrapped_lines", "", ""),
    "LanguageConfig": ("keep min_probability", "", ""),
    "QualityConfig": (
        "min_words min_mean_word_chars max_mean_word_chars min_letter_share max_repeated_line_share "
        "max_repeated_ngram_share max_symbol_word_ratio max_digit_share max_bullet_line_share max_ellipsis_line_share "
        "stop_words min_stop_words banned_phrases min_punctuated_line_share max_short_line_share",
        "", "",
    ),
    "PrivacyConfig": ("replace", "", ""),
    "DedupConfig": ("fuzzy ngram_words bands rows_per_band min_jaccard", "keep_signatures", ""),
    "DecontaminationConfig": ("text_column held_out_words ngram_words", "files", ""),
    "SplitConfig": ("validation_fraction test_fraction validation_documents test_documents group_pattern", "", ""),
    "LayoutConfig": ("target_file_mib row_group_mib max_files", "", ""),
    "TrainingConfig": (
        "method seq_len packing micro_batch_size global_batch_tokens epochs max_steps learning_rate schedule "
        "warmup_fraction weight_decay gradient_clipping zero_stage offload_optimizer offload_parameters torch_compile "
        "precision num_workers early_stop_patience keep seed",
        "base activation_checkpointing min_workers cpus_per_worker use_gpu hang_seconds max_failures "
        "checkpoint_every_steps checkpoint_every_seconds checkpoints_kept",
        "lora validate_every_steps validation_blocks",
    ),
    "LoraConfig": ("rank alpha dropout targets", "", ""),
    "EvaluationConfig": (
        "splits max_passages max_tokens use_gpu", "batch_size num_actors gate", "max_new_tokens",
    ),
    "Criterion": ("metric against limit", "", ""),  # all of a gate is outside of the id
    "InferenceConfig": (
        "carry held_out_prompts opening_words baseline_prompts template chat special_tokens max_prompt_tokens max_new_tokens logprobs "
        "use_gpu engine dtype",
        "prompts prompts_split id_column prompt_column completion_column max_errored_rows max_actor_restarts window_rows tensor_parallel "
        "batch_tokens num_actors cpus_per_actor",
        "task temperature top_p seed n stop",
    ),
}  # fmt: skip
# Classes that make no artifact of their own: what they choose is a parent, a registered model, or the run itself.
OF_NO_ARTIFACT = {
    "RunConfig", "InferenceRunConfig", "ComparisonRunConfig", "ModelChoice", "PromotionConfig", "BaseModelConfig",
    "ComparisonConfig",  # its artifact is the run's: each run measures anew
}  # fmt: skip


def classes(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A configuration and all that its fields hold."""
    yield model
    todo = [field.annotation for field in model.model_fields.values()]
    while todo:
        found: Any = todo.pop()
        if isinstance(found, type) and issubclass(found, BaseModel):
            yield from classes(found)
        else:
            todo += get_args(found)


FOUND = {
    found.__name__: found for root in (RunConfig, InferenceRunConfig, ComparisonRunConfig) for found in classes(root)
}


def test_every_class_is_listed() -> None:
    assert set(FOUND) == set(SIDES) | OF_NO_ARTIFACT


@pytest.mark.parametrize("name", SIDES)
def test_every_field_stands_on_its_side(name: str) -> None:
    marks = {field: mark_of(info) for field, info in FOUND[name].model_fields.items()}
    sides = (
        {field for field, mark in marks.items() if mark is None},
        {field for field, mark in marks.items() if mark and mark.unless is None},
        {field for field, mark in marks.items() if mark and mark.unless},
    )
    assert sides == tuple(set(listed.split()) for listed in SIDES[name]), (
        "a new field makes another artifact unless it is marked Runtime or Input. Remedy: decide, and list it here"
    )


def training(**settings: Any) -> dict[str, Any]:
    return identity_of(TrainingConfig.model_validate({"base": {"source": "/models/a"}, **settings}))


@pytest.mark.parametrize(
    "settings",
    [
        {"use_gpu": True},
        {"min_workers": 1, "max_failures": 9},
        {"base": {"source": "/models/b"}},
        {"validate_every_steps": 5, "validation_blocks": 4},
        {"learning_rate": 2e-4},  # what the method's rate is anyway
    ],
)
def test_how_a_model_is_trained_does_not_make_it_another(settings: dict[str, Any]) -> None:
    assert training(**settings) == training()


def test_what_changes_weights_makes_another_model() -> None:
    some = training(validate_every_steps=5, keep="best")
    assert some["validate_every_steps"] == 5 and some["validation_blocks"] == 32
    assert training(validate_every_steps=6, keep="best") != some
    stops = training(validate_every_steps=5, early_stop_patience=2)
    assert training(validate_every_steps=5, early_stop_patience=2, validation_blocks=4) != stops
    for changed in ({"precision": "bf16"}, {"num_workers": 2}, {"lora": {"rank": 4}}, {"seed": 1}):
        assert training(**changed) != training(), changed
    assert training(method="full", lora={"rank": 4}) == training(method="full"), "there are no adapters"


def test_where_raw_text_lies_does_not_make_another_corpus() -> None:
    def corpus(uri: str, **more: Any) -> dict[str, Any]:
        sources = {"source": {"uri": uri, "name": "a"}, "more_sources": [{"uri": f"{uri}/b", "name": "b", **more}]}
        files = {"decontamination": {"files": [f"{uri}/test.txt"]}}
        return identity_of(CorpusConfig.model_validate({**sources, **files}))

    assert corpus("/one") == corpus("/two", exclude=["x"]) and corpus("/one", share=0.5) != corpus("/one")
    assert corpus("/one")["more_sources"][0].keys() == corpus("/one")["source"].keys()


def test_another_limit_of_the_gate_scores_nothing_again() -> None:
    assert identity_of(EvaluationConfig(gate=gate_against_base(0.5))) == identity_of(EvaluationConfig())
    assert identity_of(EvaluationConfig(max_passages=5)) != identity_of(EvaluationConfig())


def test_how_answers_are_chosen_does_not_make_other_scores() -> None:
    score = identity_of(InferenceConfig(task="score"))
    assert score == identity_of(InferenceConfig(task="score", temperature=0, seed=1)) and score["task"] == "score"
    assert "task" not in identity_of(InferenceConfig()) and identity_of(InferenceConfig())["seed"] == 0


def test_a_gpu_draws_other_random_numbers_so_predictions_differ() -> None:
    assert identity_of(InferenceConfig(use_gpu=True)) != identity_of(InferenceConfig())
    assert identity_of(InferenceConfig(window_rows=99, prompts="/x.jsonl")) == identity_of(InferenceConfig())
