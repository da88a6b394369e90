"""What a Spark failure means for the user: the cause behind pages of JVM stack, where the input is at fault."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from handoff.errors import ConfigError, SourceError


@contextmanager
def explained(undecodable: Callable[[], str]) -> Iterator[None]:
    """Turn failures whose cause is input or configuration into one line; let all others through.

    Args:
        undecodable: finds out which text file is not in the configured encoding; called only if one is not.

    Raises:
        SourceError: a file is damaged, gone, or in another encoding.
        ConfigError: an encoding or a regular expression that Java does not know.
        ConfigError: Spark lacks the connector for a URI's scheme.
    """
    try:
        yield
    except Exception as error:
        explanation = explain(str(error), undecodable)
        if explanation is None:
            raise
        raise explanation from error


def explain(text: str, undecodable: Callable[[], str]) -> Exception | None:
    """The error to raise instead of a Spark error with this text, or None where the text tells nothing of the input."""
    if "MALFORMED_CHARACTER_CODING" in text or "UnicodeDecodeError" in text:
        return SourceError(undecodable())
    if found := re.search(r"(?:No FileSystem for scheme|FAILED_READ_FILE.UNSUPPORTED_FILE_SYSTEM)[^\n]*", text):
        return ConfigError(
            f"Spark cannot reach this storage ({found.group().strip()}). Remedy: add the connector's jar to spark_default"
        )
    if found := re.search(
        r"\[FAILED_READ_FILE[^\]]*\] Encountered error while reading file (.+?)\.\s+(?:SQLSTATE|$)", text
    ):
        causes = re.findall(r"Caused by: (?:[\w$]+\.)*([^\n]+)", text)
        return SourceError(
            f"{found.group(1).removeprefix('file://')} cannot be read ({causes[-1] if causes else 'no cause given'}). "
            "Remedy: the file is damaged, cut short or gone: fetch it again or exclude it"
        )
    if found := re.search(r"\[INVALID_PARAMETER_VALUE\.(?:CHARSET|PATTERN)\] ([^\n]+?)\s*SQLSTATE", text):
        return ConfigError(f"{found.group(1)} Remedy: correct corpus.source.encoding or corpus.split.group_pattern")
    return None
