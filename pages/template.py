"""Pages from templates: one HTML file without scripts, links or fonts from elsewhere, safe to pass on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from pages import text

FILTERS = ("count", "compact", "size", "duration", "perplexity", "share", "change", "date", "short_date", "tick")


def template(directory: Path, **filters: Callable[..., Any]) -> Template:
    """``template.html`` of a directory; it may include ``style.css`` beside it and the ``page.css`` of all pages.

    Whatever comes from users is escaped, and credentials in addresses are masked.

    Args:
        filters: of the template's own, beside those of ``pages.text``.
    """
    environment = Environment(
        loader=FileSystemLoader([directory, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_public,
    )
    environment.filters |= {name: getattr(text, name) for name in FILTERS} | filters
    return environment.get_template("template.html")


def _public(value: Any) -> Any:
    """Masks credentials in every value of the template, before it is escaped."""
    return text.without_credentials(value) if isinstance(value, str) and not isinstance(value, Markup) else value
