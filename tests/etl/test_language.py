"""Documents in other languages are told by their beginnings, and dropped where that is asked for."""

from typing import Any

import pytest

from etl.config import LanguageConfig
from etl.langid import check_languages, identify
from etl.language import SEEN_CHARS, keep_languages
from handoff.errors import ConfigError

TEXTS = {
    "english": "Shall I compare thee to a summer's day? Thou art more lovely and more temperate.",
    "french": "Être ou ne pas être, telle est la question, et l'on y répond comme on peut.",
    "german": "Sein oder Nichtsein, das ist hier die Frage, und niemand weiß die Antwort darauf.",
    "numbers": "1234 5678",
}


@pytest.mark.parametrize(("name", "language"), [("english", "en"), ("french", "fr"), ("german", "de")])
def test_a_language_is_told(name: str, language: str) -> None:
    told, probability = identify(TEXTS[name])
    assert told == language and probability > 0.9


def test_documents_in_other_languages_get_the_reason(spark: Any) -> None:
    rows = [*((name, text, None) for name, text in TEXTS.items()), ("unread", None, "no_text")]
    rows.append(("late", TEXTS["english"] * 40 + TEXTS["french"] * 400, None))
    assert len(TEXTS["english"] * 40) > SEEN_CHARS
    documents = spark.createDataFrame(rows, "doc_id string, text string, reason string")
    kept = keep_languages(documents, LanguageConfig(keep=("en", "de")))
    found = {row.doc_id: row.reason for row in kept.collect()}
    assert found == {
        "english": None, "german": None, "late": None, "french": "other_language", "numbers": "other_language",
        "unread": "no_text",
    }  # fmt: skip
    assert keep_languages(documents, LanguageConfig()) is documents, "nothing is looked at where nothing is asked for"


def test_a_language_that_cannot_be_told_is_refused() -> None:
    assert check_languages(LanguageConfig()) is None
    assert check_languages(LanguageConfig(keep=("en",))) == "documents in en"
    with pytest.raises(ConfigError, match=r"xx cannot be identified\. Remedy: take some of .*, en, "):
        check_languages(LanguageConfig(keep=("en", "xx")))
    with pytest.raises(ValueError, match="keep"):
        LanguageConfig(keep=("English",))
