"""The Trigger form, generated from the configuration's schema, and the validation of what it sends."""

import contextlib
import difflib
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from handoff.errors import ConfigError
from orchestration.days import for_day
from orchestration.text_rules import request_problem, text_problems

if TYPE_CHECKING:
    from airflow.sdk import Param

Config = TypeVar("Config", bound=BaseModel)

BOUNDS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "pattern",
    "examples",
)  # fmt: skip
SHOWN_CHARS = 100  # of a wrong value or name in a message


@dataclass(frozen=True)
class Field:
    """One field of a form.

    Attributes:
        section: the group it is shown in.
        title: its label.
        paths: settings that it fills, dotted; the first gives type, bounds, choices, examples and description.
        labels: readable names of choices.
    """

    section: str
    title: str
    paths: tuple[str, ...]
    labels: Mapping[Any, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Form(Generic[Config]):
    """A form over a configuration.

    Attributes:
        config: the configuration's class.
        presets: configurations to start from, by name; with a single one the form has no field for it.
        fields: by name, in the order shown. Each is empty by default, which means "as in the preset".
        replaces: by field, the settings that return to their defaults when the field is set.
        follows: settings whose value in a preset is meant for the preset's value of another one; where that is changed
            and they are not given, they are unset.
        preset_labels: readable names of presets.
    """

    config: type[Config]
    presets: Mapping[str, Callable[[], Config]]
    fields: Mapping[str, Field]
    replaces: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    follows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    preset_labels: Mapping[str, str] = field(default_factory=dict)
    example: str = "{}"  # of ``overrides``

    @property
    def names(self) -> list[str]:
        """Every name that a request may use."""
        return [*(["preset"] if len(self.presets) > 1 else []), *self.fields, "overrides"]

    def params(self, preset: str, settings: Mapping[str, Any] | None = None) -> dict[str, "Param"]:
        """Airflow Params of the form.

        Args:
            preset: what runs start from unless somebody chooses another; scheduled runs too.
            settings: by name, what fields of the form hold to begin with; the others are empty.

        Raises:
            ConfigError: there is no such preset, or no such field.
        """
        from airflow.sdk import Param

        settings = settings or {}
        problems = [] if preset in self.presets else [self._unknown_preset(preset)]
        problems += [
            f"unknown field {_shown(name)}{_nearest(name, self.names)}" for name in settings if name not in self.names
        ]
        if problems:
            raise ConfigError(f"{'; '.join(problems)}. Remedy: correct it in the DAG file")
        params = {name: self._param(known, settings.get(name)) for name, known in self.fields.items()}
        if len(self.presets) > 1:
            told = " ".join(f"**{name}**: {_first_line(make.__doc__)}" for name, make in self.presets.items())
            params = {
                "preset": Param(
                    preset, type="string", enum=list(self.presets), values_display=dict(self.preset_labels),
                    section="Start from", title="Preset", description_md=f"A full configuration to start from. {told}",
                ),
                **params,
            }  # fmt: skip
        params["overrides"] = Param(
            settings.get("overrides"),
            type=["null", "object"],
            section="Everything else",
            title="Overrides",
            description_md="Any other setting, as JSON in the shape of the run's configuration (its `run.json`), such as "
            f"`{self.example}`",
        )
        return params

    def _unknown_preset(self, preset: Any) -> str:
        known = list(self.presets)
        return f"unknown preset {_shown(preset)}{_nearest(str(preset), known)}; presets: {', '.join(known)}"

    def _param(self, known: Field, value: Any) -> "Param":
        """A nullable Param with the type, bounds, choices and description of one field of the configuration."""
        from airflow.sdk import Param

        schema = field_schema(self.config, known.paths[0])
        keywords: dict[str, Any] = {k: schema[k] for k in BOUNDS if k in schema}
        if "enum" in schema:
            keywords["enum"] = [*schema["enum"], None]
            keywords["values_display"] = {**known.labels, None: "as in the preset"}
        if "items" in schema:
            keywords["items"] = {"type": _item_type(schema["items"])}
        said = schema["description"]
        values = self._preset_values(known.paths[0])
        description = f"{said[0].upper()}{said[1:]}. Empty: {values}."
        # Airflow draws every field of type boolean as a switch, which shows an empty one as off. Without a type it draws
        # the choices as long as none is made, the empty one with its meaning.
        types: dict[str, Any] = {"type": ["null", schema["type"]]}
        if schema["type"] == "boolean":
            types = {"enum": [None, True, False], "values_display": {None: values, "true": "yes", "false": "no"}}
        return Param(
            value,
            **types,
            section=known.section,
            title=known.title,
            description_md=description,
            **keywords,
        )

    def _preset_values(self, path: str) -> str:
        """What each preset has for a setting, presets of one value together: ``demo, tiny: 2 · gptj: 32``."""
        names: dict[str, list[str]] = {}
        for name, make in self.presets.items():
            value = _at(make().model_dump(mode="json"), path)
            names.setdefault(_in_words(value), []).append(name)
        if len(self.presets) == 1:
            return next(iter(names))
        listed = " · ".join(f"{', '.join(presets)}: {value}" for value, presets in names.items())
        return f"as in the preset ({listed})"

    def build(self, request: dict[str, Any], day: date | None = None) -> Config:
        """The configuration for a request, be it from the form, the API, the CLI or an asset's event.

        Args:
            request: fields of the form (None: as in the preset) and ``overrides`` (nested settings).
            day: that the run is for, which paths and URIs may name (:func:`orchestration.days.for_day`).

        Raises:
            ConfigError: naming every unknown key with the nearest known one, every value out of range and every text
                that is not allowed.
        """
        if problem := request_problem(request):
            raise ConfigError(_message([problem]))
        problems = [f"unknown field {_shown(k)}{_nearest(k, self.names)}" for k in request if k not in self.names]
        preset = request.get("preset") or next(iter(self.presets))
        if preset not in self.presets:
            problems.append(self._unknown_preset(preset))
        overrides = request.get("overrides") or {}
        if not isinstance(overrides, dict):
            problems.append("overrides is not a JSON object")
        if problems:
            raise ConfigError(_message(problems))
        settings = self.presets[preset]().model_dump(mode="json")
        for name, known_field in self.fields.items():
            if request.get(name) is None:
                continue
            for replaced in self.replaces.get(name, ()):
                _set(settings, replaced, {})
            for path in known_field.paths:
                _set(settings, path, request[name])
        self._unset_followers(settings, preset, request, overrides)
        settings = for_day(self.config, _merged(settings, overrides), day)
        problems = text_problems(self.config, settings)
        try:
            config = self.config.model_validate(settings)
        except ValidationError as error:
            problems = [_problem(e, self.config) for e in error.errors()] + problems
        if problems:
            raise ConfigError(_message(problems))
        return config

    def in_labels(self, text: str) -> str:
        """A message for people, each setting that the form has a field for under that field's label."""
        labels = {path: known.title for known in self.fields.values() for path in known.paths}
        return re.sub(
            r"(?<![\w./])[a-z_]+(?:\.[a-z_]+)+", lambda m: f'"{labels[m[0]]}"' if m[0] in labels else m[0], text
        )

    def _unset_followers(
        self, settings: dict[str, Any], preset: str, request: dict[str, Any], overrides: dict[str, Any]
    ) -> None:
        given = {path for name, known in self.fields.items() if request.get(name) is not None for path in known.paths}
        before, after = self.presets[preset]().model_dump(mode="json"), _merged(settings, overrides)
        for leader, followers in self.follows.items():
            with contextlib.suppress(KeyError, TypeError):  # of overrides in another shape, which validation names
                for path in followers if _at(after, leader) != _at(before, leader) else ():
                    if path not in given:
                        _set(settings, path, None)


def field_schema(config: type[BaseModel], path: str) -> dict[str, Any]:
    """JSON schema of one field of a configuration, by dotted path, references and ``or null`` resolved."""
    whole = _whole_schema(config)
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


@functools.cache
def _whole_schema(config: type[BaseModel]) -> dict[str, Any]:
    return config.model_json_schema()  # takes 35 ms, and the scheduler parses DAG files again and again


def _item_type(items: Mapping[str, Any]) -> str:
    """JSON type of an array's items; of choices that of text. A reference leads to a configuration of its own."""
    return "object" if "$ref" in items else items.get("type", "string")


def _in_words(value: Any) -> str:
    """A preset's value as a description shows it: ``metric perplexity, against base, limit 0.95`` for an object."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {part}" for key, part in value.items() if part is not None)
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        return "; ".join(map(_in_words, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unset" if value is None else str(value)


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n")[0]


def _message(problems: list[str]) -> str:
    listed = problems[0] if len(problems) == 1 else "".join(f"\n  - {p}" for p in problems)
    return f"the configuration is not valid: {listed}\nRemedy: correct it and trigger again; nothing was started"


def _problem(error: Any, config: type[BaseModel]) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        parent, _, leaf = path.rpartition(".")
        return f"unknown setting {_shown(path)}{_nearest(leaf, _siblings(config, parent))}"
    given = "" if isinstance(error["input"], dict) else f" (given: {_shown(str(error['input']))})"
    return f"{path}: {error['msg'].removeprefix('Value error, ')}{given}"


def _shown(text: Any) -> str:
    return repr(str(text)[:SHOWN_CHARS])


def _siblings(config: type[BaseModel], path: str) -> list[str]:
    """Names of the settings of a configuration at a path, which may lead through a list."""
    node: Any = config
    for part in filter(None, path.split(".")):
        node = get_args(node)[0] if part.isdigit() else node.model_fields[part].annotation
    return list(node.model_fields)


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name[:SHOWN_CHARS], known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else f" (known: {', '.join(known)})"


def _at(settings: Any, path: str) -> Any:
    """The setting at a dotted path; None below a section that is unset."""
    for part in path.split("."):
        settings = None if settings is None else settings[part]
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
