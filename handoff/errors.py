"""Errors that are explained: each message names the thing at fault and the remedy, in one line where it fits.

Two families, because what to do next differs. :class:`BatonError`: configuration or input must change first, so a
retry would only fail again. :class:`InfrastructureError`: something outside did not answer; a retry may well pass.
"""

EXIT_FAILED = 1
EXIT_USER_ERROR = 2  # of a job that ended by a BatonError, or another error that the same input brings again
EXIT_INFRASTRUCTURE = 75  # by an InfrastructureError, or something that died; EX_TEMPFAIL of sysexits.h
EXIT_INTERRUPTED = 130  # by Ctrl-C, as shells have it


class BatonError(ValueError):
    """Base of every error whose cause is input or configuration: retrying without a change cannot help."""


class ConfigError(BatonError):
    """A configuration value that is unknown, out of range or contradicts another."""


class SourceError(BatonError):
    """Raw input that is missing, unreadable, of the wrong format, or does not match its sha256."""


class ArtifactError(BatonError):
    """An artifact that does not exist, is incomplete, or differs from its manifest.

    Args:
        subject: what was being opened or published.
        problems: *every* mismatch that was found, each naming the file or field.
        remedy: what the user can do about it.
    """

    def __init__(self, subject: str, problems: list[str], remedy: str) -> None:
        self.problems = problems
        self._made_of = (subject, problems, remedy)
        detail = problems[0] if len(problems) == 1 else "".join(f"\n  - {p}" for p in problems)
        super().__init__(f"{subject}: {detail}{chr(10) if len(problems) > 1 else ' '}Remedy: {remedy}")

    def __reduce__(self) -> tuple[type["ArtifactError"], tuple[str, list[str], str]]:
        return type(self), self._made_of  # workers raise it in other processes


class TooManyErrors(BatonError):
    """More rows than the configuration bears ended with an error."""


class GateFailed(BatonError):
    """The tuned model is not better enough than its base to be promoted."""


class CapacityError(BatonError):
    """The configuration asks for more than the cluster has; waiting would last for ever."""


class InfrastructureError(RuntimeError):
    """Base of every error whose cause is outside of input and configuration and may pass by itself."""


class EngineUnavailable(InfrastructureError):
    """Spark, Ray, MLflow or a service does not answer or does not start."""
