"""Text that a request may not carry is refused by name, wherever in the request it stands, and none of it is run."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel

from handoff.errors import ConfigError
from handoff.text import Name, text_fields
from orchestration.form_fields import INFERENCE, TRAINING
from orchestration.paths import ALLOWED_ROOTS
from orchestration.run_config import ComparisonRunConfig, InferenceRunConfig, RunConfig
from orchestration.text_rules import text_problems

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


ROOTS = (RunConfig, InferenceRunConfig, ComparisonRunConfig)
KINDS = {path: kind for root in ROOTS for path, kind in text_fields(root)}


def of_kind(what: str) -> list[str]:
    """Settings of a training run whose type says this."""
    return sorted(path for path, kind in text_fields(RunConfig) if kind and kind.what == what)


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


def test_every_text_has_a_type() -> None:
    assert len(KINDS) > 40, "no setting was looked at"
    untyped = sorted(path for path, kind in KINDS.items() if kind is None)
    assert untyped == [], (
        f"{', '.join(untyped)}: the field's type does not say what the text is. "
        "Remedy: Location, Name or FreeText of handoff/text.py instead of str"
    )


class Careless(BaseModel):
    """A configuration whose author thought of nothing."""

    place: str = ""
    maybe: tuple[str, ...] | None = None
    path: Path = Path()
    anything: Any = None
    number: int | None = None
    choice: Literal["a", "b"] = "a"
    sure: Annotated[Name | None, "more"] = None


def test_a_text_without_a_type_is_found_and_judged_as_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED_ROOTS, "/data")
    assert [path for path, kind in text_fields(Careless) if kind is None] == ["place", "maybe", "path", "anything"]
    (problem,) = text_problems(Careless, {"place": "/etc/passwd", "maybe": ["/data/x"], "sure": "/etc/passwd"})
    assert problem.startswith("place: '/etc/passwd' is outside of the allowed places")


@pytest.mark.parametrize("attack", sorted(HOSTILE))
@pytest.mark.parametrize("path", of_kind("location"))
def test_every_location_obeys_the_rules(path: str, attack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED_ROOTS, "/data,s3://ours")
    refused(TRAINING.build, {"overrides": nested(path, HOSTILE[attack].format(canary="/tmp/x"))})


@pytest.mark.parametrize("attack", ["newline", "nul", "jinja", "parent", "encoded parent", "megabyte"])
@pytest.mark.parametrize("path", sorted(set(of_kind("name")) - {"preset"}))
def test_every_name_obeys_the_rules(path: str, attack: str) -> None:
    refused(TRAINING.build, {"overrides": nested(path, HOSTILE[attack].format(canary="/tmp/x"))})


@pytest.mark.parametrize("attack", ["nul", "megabyte"])
@pytest.mark.parametrize("path", of_kind("free"))
def test_free_text_is_no_hiding_place(path: str, attack: str) -> None:
    refused(TRAINING.build, {"overrides": nested(path, HOSTILE[attack])})


@pytest.mark.parametrize(
    "text", ["\n", "\n\n", "</s>", "<|im_end|>", "{{", "R&D", 'say "so"; $5', "\\", "a/../b", "|", "本"]
)
def test_text_of_and_for_the_model_is_free(text: str) -> None:
    overrides = {
        "inference": {"stop": [text], "template": f"{text}{{prompt}}"} if text != "{{" else {"stop": [text]},
        "corpus": {"quality": {"banned_phrases": [text], "stop_words": [text, "the"]}},
    }
    config = TRAINING.build({"overrides": overrides})
    assert config.inference.stop == config.corpus.quality.banned_phrases == (text,)
    again = RunConfig.model_validate_json(config.model_dump_json())
    assert again == config, "run.json keeps it"


@pytest.mark.parametrize("column", ["Q&A", "price ($)", 'the "text"', "a|b", "prix d'été", "<text>"])
def test_a_column_may_be_called_anything_on_one_line(column: str) -> None:
    config = TRAINING.build(
        {"overrides": {"corpus": {"source": {"text_column": column}}, "inference": {"carry": [column]}}}
    )
    assert config.corpus.source.text_column == column and config.inference.carry == (column,)


def test_a_further_source_lies_in_the_allowed_roots_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED_ROOTS, "/data,s3://ours")
    path = "corpus.more_sources.uri"
    assert "s3://somebody-elses" in refused(TRAINING.build, {"overrides": nested(path, HOSTILE["foreign bucket"])})
    config = TRAINING.build({"overrides": nested(path, "/data/x.txt")})
    assert [source.uri for source in config.corpus.more_sources] == ["/data/x.txt"]


def test_a_pattern_may_use_the_characters_it_needs() -> None:
    config = TRAINING.build({"overrides": {"corpus": {"split": {"group_pattern": r"^(a|b)\d+$"}}}})
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
