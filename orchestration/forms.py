"""The Trigger form: a dozen fields that people change, generated from the configuration's own schema."""

import difflib
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from handoff.errors import ConfigError
from orchestration.presets import PRESETS
from orchestration.run_config import RunConfig

if TYPE_CHECKING:
    from airflow.sdk import Param

DEFAULT_PRESET = "demo"

# Form field → (title, paths into RunConfig that it sets). The first path gives type, bounds and description.
FIELDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "source": ("Corpus", ("corpus.source.uri",)),
    "base_model": ("Base model", ("training.base.source",)),
    "method": ("Method", ("training.method",)),
    "max_steps": ("Optimizer steps", ("training.max_steps",)),
    "learning_rate": ("Learning rate", ("training.learning_rate",)),
    "seq_len": ("Block length", ("training.seq_len",)),
    "zero_stage": ("ZeRO stage", ("training.zero_stage",)),
    "num_workers": ("Training workers", ("training.num_workers",)),
    "use_gpu": ("Use GPUs", ("training.use_gpu", "evaluation.use_gpu", "inference.use_gpu")),
    "max_perplexity_ratio": ("Gate", ("evaluation.max_perplexity_ratio",)),
    "prompts": ("Prompts", ("inference.prompts",)),
    "temperature": ("Temperature", ("inference.temperature",)),
    "model_name": ("Registered model", ("promotion.model_name",)),
}
# Another corpus or model makes the preset's details about the old one meaningless: their defaults come back.
REPLACES = {"source": ("corpus.source", "corpus.split"), "base_model": ("training.base",)}


def form_params() -> dict[str, "Param"]:
    """Airflow Params of the form. Every field but the preset is empty by default, which means: as in the preset."""
    from airflow.sdk import Param

    preset = Param(
        DEFAULT_PRESET,
        type="string",
        enum=list(PRESETS),
        title="Preset",
        description_md="A full configuration to start from: "
        + " ".join(f"**{name}**: {_first_line(make.__doc__)}" for name, make in PRESETS.items()),
    )
    fields = {name: _param(title, paths[0]) for name, (title, paths) in FIELDS.items()}
    overrides = Param(
        None,
        type=["null", "object"],
        title="Overrides",
        description_md="Any other setting, as JSON in the shape of the run's configuration, such as "
        '`{"corpus": {"passage_chars": 1500}, "training": {"lora": {"rank": 8}}}`',
    )
    return {"preset": preset, **fields, "overrides": overrides}


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n")[0]


def _param(title: str, path: str) -> "Param":
    """A nullable Param with the type, bounds, choices and description of one field of the configuration."""
    from airflow.sdk import Param

    schema = field_schema(path)
    keywords: dict[str, Any] = {
        k: schema[k]
        for k in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern")
        if k in schema
    }
    if "enum" in schema:
        keywords["enum"] = [*schema["enum"], None]
        keywords["values_display"] = {None: "as in the preset"}
    said = schema["description"]
    empty = "Not touched" if schema["type"] == "boolean" else "Empty"
    description = f"{said[0].upper()}{said[1:]}. {empty}: as in the preset ({_preset_values(path)})."
    return Param(None, type=["null", schema["type"]], title=title, description_md=description, **keywords)


def _preset_values(path: str) -> str:
    """What each preset has for a setting, presets of one value together: ``demo, tiny: 2 · gptj: 32``."""
    names: dict[str, list[str]] = {}
    for name, make in PRESETS.items():
        value = _at(make().model_dump(mode="json"), path)
        names.setdefault("unset" if value is None else str(value), []).append(name)
    return " · ".join(f"{', '.join(presets)}: {value}" for value, presets in names.items())


def field_schema(path: str) -> dict[str, Any]:
    """JSON schema of one field of RunConfig, by dotted path, references and ``or null`` resolved."""
    whole = RunConfig.model_json_schema()
    node: dict[str, Any] = whole
    for part in path.split("."):
        node = node["properties"][part]
        described = node
        for option in node.get("anyOf", ()):
            if option.get("type") != "null":
                node = {**option, **{k: v for k, v in node.items() if k != "anyOf"}}
        if "$ref" in node:
            node = {**whole["$defs"][node["$ref"].rsplit("/", 1)[1]], "description": described["description"]}
    if "enum" in node and "type" not in node:
        node = {**node, "type": "integer" if all(isinstance(v, int) for v in node["enum"]) else "string"}
    return node


def build_config(request: dict[str, Any]) -> RunConfig:
    """The configuration that a request stands for, whether it came by form, API or CLI.

    Args:
        request: ``preset``, fields of the form (None: as in the preset) and ``overrides`` (nested settings).

    Raises:
        ConfigError: naming every unknown key, with the nearest known one, and every value out of range.
    """
    known = ["preset", *FIELDS, "overrides"]
    problems = [f"unknown field {k!r}{_nearest(k, known)}" for k in request if k not in known]
    preset = request.get("preset") or DEFAULT_PRESET
    if preset not in PRESETS:
        problems.append(
            f"unknown preset {preset!r}{_nearest(str(preset), list(PRESETS))}; there are {', '.join(PRESETS)}"
        )
    overrides = request.get("overrides") or {}
    if not isinstance(overrides, dict):
        problems.append("overrides is not a JSON object")
    if problems:
        raise ConfigError(_message(problems))
    settings = PRESETS[preset]().model_dump(mode="json")
    for name, (_, paths) in FIELDS.items():
        if request.get(name) is None:
            continue
        for replaced in REPLACES.get(name, ()):
            _set(settings, replaced, {})
        for path in paths:
            _set(settings, path, request[name])
    try:
        return RunConfig.model_validate(_merged(settings, overrides))
    except ValidationError as error:
        raise ConfigError(_message([_problem(e) for e in error.errors()])) from None


def _message(problems: list[str]) -> str:
    listed = problems[0] if len(problems) == 1 else "".join(f"\n  - {p}" for p in problems)
    return f"the configuration is not valid: {listed}\nRemedy: correct it and trigger again; nothing was started"


def _problem(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        parent, _, leaf = path.rpartition(".")
        return f"unknown setting {path!r}{_nearest(leaf, _siblings(parent))}"
    given = "" if isinstance(error["input"], dict) else f" (given: {str(error['input'])[:100]!r})"
    return f"{path}: {error['msg'].removeprefix('Value error, ')}{given}"


def _siblings(path: str) -> list[str]:
    node: Any = RunConfig
    for part in filter(None, path.split(".")):
        node = node.model_fields[part].annotation
    return list(node.model_fields)


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else f" (known: {', '.join(known)})"


def _at(settings: Any, path: str) -> Any:
    for part in path.split("."):
        settings = settings[part]
    return settings


def _set(settings: dict[str, Any], path: str, value: Any) -> None:
    *parents, leaf = path.split(".")
    for part in parents:
        settings = settings[part]
    settings[leaf] = value


def _merged(base: Any, over: Any) -> Any:
    """``over`` laid on ``base``: objects merge key by key, everything else is replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{k: _merged(base.get(k), v) for k, v in over.items()}}
    return over
