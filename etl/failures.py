"""Errors of Spark and Py4J in one sentence for the user: the innermost cause, and a remedy where one is known."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JError, Py4JNetworkError
from pyspark.errors import PySparkException

from handoff import errors
from handoff.errors import BatonError, ConfigError, EngineUnavailable, InfrastructureError

SPACE = (
    "free space, or name larger disks, for its scratch files (SPARK_LOCAL_DIRS, else /tmp) and for the snapshot "
    "(BATON_HOME or BATON_STORAGE), and rerun"
)
MEMORY = "give Spark more memory (DRIVER_MEMORY in the DAG, executor memory in the spark_default connection), and rerun"


# A job is cancelled because its context was shut down. While the job is running only a dying JVM does that.
SHUT_DOWN = ("SparkContext was shut down", "SparkContext has been shutdown", "stopped SparkContext", "after shutdown")
_CAUSE = re.compile(
    r"^(?:Caused by: )?((?:[\w$]+\.)*[\w$]*(?:Error|Exception|Throwable|Failure)): ([^\n]+)", re.MULTILINE
)
_NO_CONNECTOR = re.compile(
    r"(?:No FileSystem for scheme|FAILED_READ_FILE.UNSUPPORTED_FILE_SYSTEM)[^\n]*|Class [\w.]+FileSystem not found"
)
# Of Python workers: the last line of a traceback, in front of Java's stack.
_IN_PYTHON = re.compile(r"^((?:\w+\.)*\w+): ([^\n]*)\n+\s*(?:SQLSTATE[^\n]*\n+)?\s*at [\w.$]+\(", re.MULTILINE)


@contextmanager
def explained() -> Iterator[None]:
    """Turn failures of Spark into one sentence; let everything else through.

    Raises:
        BatonError: as a Python worker raised it, about a file or a setting.
        ConfigError: a regular expression that Java does not know; Spark lacks the connector for a URI's scheme.
        EngineUnavailable: Spark's JVM or a Python worker of it died, or memory or a disk ran out; a retry may pass.
        RuntimeError: anything else that Spark or Py4J raised, by its innermost cause.
    """
    try:
        yield
    except (BatonError, InfrastructureError):
        raise
    except (Py4JError, PySparkException, ConnectionError) as error:
        try:
            text = (
                f"{error}\n{getattr(error, '_stackTrace', '')}"  # without it, PySpark's errors do not name their causes
            )
        except (Py4JError, OSError):  # the message is kept in the JVM, which is gone
            text = ""
        # The call during which the JVM dies raises a plain Py4JError; later calls get no connection.
        gone = not text or isinstance(error, Py4JNetworkError | ConnectionError) or type(error) is Py4JError
        if (explanation := explain(text)) is None and gone:
            explanation = EngineUnavailable(f"Spark's JVM died: it was killed, or memory ran out. Remedy: {MEMORY}")
        raise explanation or RuntimeError(innermost(text)) from error


def explain(text: str) -> Exception | None:
    """The error to raise instead of a Spark error with this text, or None for an unknown one."""
    if found := re.search(r"handoff\.errors\.(\w+): ([^\n]+)", text):  # raised in a Python worker
        return getattr(errors, found.group(1), RuntimeError)(found.group(2).strip())
    if found := _NO_CONNECTOR.search(text):
        return ConfigError(
            f"Spark cannot reach this storage ({found.group().strip()}). Remedy: add the connector's jar to spark_default; "
            "images have it if they were built with SPARK_S3=1"
        )
    if "No space left on device" in text:
        return EngineUnavailable(f"a disk that Spark writes to is full. Remedy: {SPACE}")
    if "MemoryError" in text:  # Java's OutOfMemoryError, and Python's
        return EngineUnavailable(f"Spark ran out of memory. Remedy: {MEMORY}")
    if "Python worker exited unexpectedly" in text or "PythonWorkerFactory.createThroughDaemon" in text:
        return EngineUnavailable(
            f"a Python worker of Spark died: it was killed, or memory ran out. Remedy: leave it more memory, or {MEMORY}"
        )
    if any(words in text for words in SHUT_DOWN):
        return EngineUnavailable(f"Spark's JVM died while it was at work. Remedy: {MEMORY}")
    if found := re.search(r"\[INVALID_PARAMETER_VALUE\.PATTERN\] ([^\n]+?)\s*SQLSTATE", text):
        return ConfigError(f"{found.group(1)} Remedy: correct corpus.split.group_pattern")
    return None


def innermost(text: str) -> str:
    """The innermost cause in an error's text, as one sentence: its type and its message."""
    causes = _IN_PYTHON.findall(text) or _CAUSE.findall(text)
    if not causes:
        return f"Spark failed: {text.strip().splitlines()[0] if text.strip() else 'it does not say why'}"
    kind, said = causes[-1]
    return f"Spark failed: {kind.rsplit('.', 1)[-1]}: {said.strip()}"
