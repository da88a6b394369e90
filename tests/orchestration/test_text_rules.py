"""Text that a request may not carry is refused by name, wherever in the request it stands, and none of it is run."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from etl.config import SourceConfig
from handoff.errors import ConfigError
from orchestration.form_fields import INFERENCE, TRAINING
from orchestration.paths import ALLOWED_ROOTS
from orchestration.run_config import ComparisonRunConfig, InferenceRunConfig, RunConfig
from orchestration.text_rules import FREE_TEXT, LOCATIONS

MEGABYTE = "x" * (1 << 20)
HOSTILE = {
    "semicolon": "/data/x.txt; touch {canary}",
    "command substitution": "/data/$(touch {canary}).txt",
    "backtick": "/data/`touch {canary}`.txt",
    "pipe": "/data/x.txt | tee {canary}",
    "redirect": "/data/x.txt > {canary}",
    "and": "/data/x.txt && touch {canary}",
    "newline": "/data/x.txt\ntouch {canary}",
    "nul": "/data/x.txt\0",
    "jinja": "{{{{ ti.xcom_pull(task_ids='plan') }}}}",
    "jinja that runs": "{{{{ ''.__class__.__mro__[1].__subclasses__() }}}}",
    "jinja statement": "{{% for x in [1] %}}x{{% endfor %}}",
    "parent": "/data/../../etc/passwd",
    "parent at the end": "/data/..",
    "encoded parent": "s3://bucket/%2e%2e/other/x.txt",
    "http": "http://169.254.169.254/latest/meta-data/x.txt",
    "foreign bucket": "s3://somebody-elses/x.txt",
    "chained filesystem": "simplecache::s3://somebody-elses/x.txt://",
    "redirected endpoint": "s3://ours/x.parquet?endpoint_override=http://evil",
    "credentials": "s3://key:secret@ours/x.parquet",
    "megabyte": MEGABYTE,
}


def refused(build: Any, request: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        build(request)
    message = str(caught.value)
    assert "Remedy" in message and len(message) < 4000, "the message repeats the attack at length"
    return message


def strings_of(config: type[BaseModel], path: str = "") -> list[str]:
    """Dotted paths of all settings that hold text."""
    found = []
    for name, field in config.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += strings_of(kind, f"{path}{name}.")
        elif kind in (tuple[SourceConfig, ...], SourceConfig | None):
            found += strings_of(SourceConfig, f"{path}{name}.")
        elif re.search(r"\bstr\b", str(kind)):
            found.append(f"{path}{name}")
    return found


def nested(path: str, value: str) -> dict[str, Any]:
    *parents, leaf = path.split(".")
    inner: dict[str, Any] = {leaf: value}
    for part in reversed(parents):
        if part == "more_sources":  # a list of sources, each of which needs a name
            inner = {"source": {"name": "a"}, part: [{"uri": "/data/b.txt", "name": "b", **inner}]}
        else:
            inner = {part: inner}
    return inner


@pytest.mark.parametrize("attack", sorted(HOSTILE))
@pytest.mark.parametrize("field", ["source", "base_model", "prompts", "model_name"])
def test_fields_of_the_training_form(field: str, attack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED_ROOTS, "/data,s3://ours")
    canary = tmp_path / "ran"
    refused(TRAINING.build, {field: HOSTILE[attack].format(canary=canary)})
    assert not canary.exists()


@pytest.mark.parametrize("attack", sorted(HOSTILE))
@pytest.mark.parametrize("field", ["model_name", "alias", "model", "prompts"])
def test_fields_of_the_inference_form(field: str, attack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED_ROOTS, "/data,s3://ours")
    refused(INFERENCE.build, {field: HOSTILE[attack].format(canary="/tmp/x")})


@pytest.mark.parametrize("attack", ["semicolon", "newline", "jinja", "megabyte"])
@pytest.mark.parametrize("path", sorted(set(strings_of(RunConfig)) - FREE_TEXT - {"preset"}))
def test_every_text_of_the_configuration_obeys_the_rules(path: str, attack: str) -> None:
    """A setting that is added tomorrow is covered: the rule is for all strings, exceptions are listed."""
    text = HOSTILE[attack].format(canary="/tmp/x")
    refused(TRAINING.build, {"overrides": nested(path, text)})


def test_a_further_source_lies_in_the_allowed_roots_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED_ROOTS, "/data,s3://ours")
    path = "corpus.more_sources.uri"
    assert "s3://somebody-elses" in refused(TRAINING.build, {"overrides": nested(path, HOSTILE["foreign bucket"])})
    config = TRAINING.build({"overrides": nested(path, "/data/x.txt")})
    assert [source.uri for source in config.corpus.more_sources] == ["/data/x.txt"]


def test_the_listed_settings_exist() -> None:
    known = {*strings_of(RunConfig), *strings_of(InferenceRunConfig), *strings_of(ComparisonRunConfig)}
    assert known >= FREE_TEXT and known >= LOCATIONS


def test_patterns_and_templates_may_use_the_characters_they_need() -> None:
    overrides = {
        "corpus": {"split": {"group_pattern": r"^(a|b)\d+$"}},
        "inference": {"template": "Q: {prompt}\nA:"},
    }
    config = TRAINING.build({"overrides": overrides})
    assert config.inference.template == "Q: {prompt}\nA:"
    assert config.corpus.split.group_pattern == r"^(a|b)\d+$"


@pytest.mark.parametrize("name", ["books & more", "a<b", 'a"b'])
def test_a_refused_character_is_named(name: str) -> None:
    assert re.search(r"contains [&<\"], which is not allowed", refused(TRAINING.build, {"source": f"/data/{name}.txt"}))


@pytest.mark.parametrize(
    "source",
    ["/data/my books (2)/*.txt", "/data/it's/a,b=c/day=2026-01-01/*.parquet", "s3://ours/x/day=1/*.parquet",
     "s3://ours", "file:///data/x.txt", "/data/naïve 本.txt"],
)  # fmt: skip
def test_ordinary_places_inside_the_roots_are_fine(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED_ROOTS, "/data/,s3://ours/")
    assert TRAINING.build({"source": source}).corpus.source.uri == source


@pytest.mark.parametrize(
    "source", ["/database/x.txt", "/etc/x.txt", "x.txt", "s3://ours-too/x.txt", "file:///etc/x.txt", "gs://ours/x.txt"]
)
def test_places_outside_are_refused_with_the_remedy(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED_ROOTS, "/data,s3://ours")
    message = refused(TRAINING.build, {"source": source})
    assert "is outside of the allowed places (/data, s3://ours, " in message and ALLOWED_ROOTS in message


def test_evaluation_files_outside_are_refused_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED_ROOTS, "/data")
    files = {"corpus": {"decontamination": {"files": ["/data/eval.txt", "/etc/eval.txt"]}}}
    message = refused(TRAINING.build, {"overrides": files})
    assert "'/etc/eval.txt' is outside of the allowed places" in message and "/data/eval.txt" not in message


def test_a_link_out_of_a_root_is_followed_before_it_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    monkeypatch.setenv(ALLOWED_ROOTS, str(inside))
    TRAINING.build({"source": f"{inside}/*.txt"})
    assert "is outside" in refused(TRAINING.build, {"source": f"{inside}/link/*.txt"})


@pytest.mark.parametrize("roots", [None, "/data"])
def test_the_deployments_own_store_needs_no_mention_and_nothing_else_is_open(
    roots: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shared Airflow reads with the worker's rights: what those who trigger may read is for its owner to say."""
    monkeypatch.delenv(ALLOWED_ROOTS)
    if roots:
        monkeypatch.setenv(ALLOWED_ROOTS, roots)
    monkeypatch.setenv("BATON_STORAGE", "s3://store/baton")
    INFERENCE.build({"model": "s3://store/baton/model/model-0123456789abcdef"})
    assert "is outside" in refused(TRAINING.build, {"source": "/etc/x.txt"})
    assert "is outside" in refused(TRAINING.build, {"source": "s3://store/other/x.txt"})


def test_hub_ids_and_packages_are_no_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED_ROOTS, "/data")
    assert TRAINING.build({"base_model": "EleutherAI/gpt-j-6B"}).training.base.source == "EleutherAI/gpt-j-6B"
    assert TRAINING.build({}).training.base.source.startswith("package:")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"source": MEGABYTE}, "the request has 1,0"),
        ({MEGABYTE: 1}, "the request has 1,0"),
        ({"x" * 60_000: 1}, "unknown field 'xxx"),
        ({"overrides": {"a": json.loads("[" * 400 + "]" * 400)}}, "nested too deeply"),
    ],
)
def test_size_and_depth_are_looked_at_first(request_: dict[str, Any], expected: str) -> None:
    assert expected in refused(TRAINING.build, request_)
