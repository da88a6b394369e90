"""What a Spark failure means for the user: the cause behind pages of JVM stack, where it is the input or a lost process."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from handoff.errors import ConfigError, EngineUnavailable, SourceError

SPACE = (
    "free space, or name larger disks, for its scratch files (SPARK_LOCAL_DIRS, else /tmp) and for the snapshot "
    "(BATON_HOME or BATON_STORAGE), and rerun"
)
MEMORY = "give Spark more memory (DRIVER_MEMORY in the DAG, executor memory in the spark_default connection), and rerun"


@contextmanager
def explained(undecodable: Callable[[], str]) -> Iterator[None]:
    """Turn failures whose cause is input, configuration or a process that died into one line; let all others through.

    Args:
        undecodable: finds out which text file is not in the configured encoding; called only if one is not.

    Raises:
        SourceError: a file is damaged, gone, or in another encoding.
        ConfigError: an encoding or a regular expression that Java does not know.
        ConfigError: Spark lacks the connector for a URI's scheme.
        EngineUnavailable: Spark's JVM or a Python worker of it died, or memory or a disk ran out; a retry may pass.
    """
    from py4j.protocol import Py4JError, Py4JNetworkError

    try:
        yield
    except Exception as error:
        try:
            explanation, gone = explain(str(error), undecodable), False
        except (Py4JError, OSError):  # what it says is kept in the JVM
            explanation, gone = None, True
        # A call that the JVM did not survive is a plain Py4JError; those that follow find nobody to answer.
        gone = gone or isinstance(error, Py4JNetworkError | ConnectionError) or type(error) is Py4JError
        if explanation is None and gone:
            explanation = EngineUnavailable(f"Spark's JVM died: it was killed, or memory ran out. Remedy: {MEMORY}")
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
    if "No space left on device" in text:
        return EngineUnavailable(f"a disk that Spark writes to is full. Remedy: {SPACE}")
    if "java.lang.OutOfMemoryError" in text:
        return EngineUnavailable(f"Spark ran out of memory. Remedy: {MEMORY}")
    if "Python worker exited unexpectedly" in text or "PythonWorkerFactory.createThroughDaemon" in text:
        return EngineUnavailable(
            f"a Python worker of Spark died: it was killed, or memory ran out. Remedy: leave it more memory, or {MEMORY}"
        )
    if found := re.search(r"\[INVALID_PARAMETER_VALUE\.(?:CHARSET|PATTERN)\] ([^\n]+?)\s*SQLSTATE", text):
        return ConfigError(f"{found.group(1)} Remedy: correct corpus.source.encoding or corpus.split.group_pattern")
    return None
