"""Language identification by py3langid (Lui & Baldwin 2012). Imports no Spark: plan checks settings with it."""

import functools
from typing import Any

from etl.config import LanguageConfig
from handoff.errors import ConfigError


def check_languages(config: LanguageConfig) -> str | None:
    """One line on which documents will be kept; None if all are.

    Raises:
        ConfigError: py3langid does not know a language.
    """
    if not config.keep:
        return None
    if unknown := sorted(set(config.keep) - languages()):
        raise ConfigError(
            f"corpus.language.keep: {', '.join(unknown)} cannot be identified. Remedy: take some of {', '.join(sorted(languages()))}"
        )
    return f"documents in {', '.join(config.keep)}"


def identify(text: str) -> tuple[str, float]:
    """Language (ISO 639-1) and its probability among those that py3langid knows."""
    language, probability = _identifier().classify(text)
    return language, float(probability)


@functools.cache
def languages() -> frozenset[str]:
    """The languages that py3langid knows."""
    return frozenset(_identifier().labels)


@functools.cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
