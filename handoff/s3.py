"""S3 with the patience for a store that does not answer for half a minute."""

from typing import Any

import pyarrow.fs as pafs

# The waits between attempts double up to 20 s and are random. A store that cannot be reached for 30 s costs a pause; one
# that is gone ends a request after 60 to 180 s. pyarrow's own default gives up after 6 s.
ATTEMPTS = 10


class PatientS3(pafs.S3FileSystem):
    """pyarrow's S3 that tries a request ten times, in the processes that it is sent to as well."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS))

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_of, (_options(self),)  # pyarrow itself leaves the retry strategy behind


def patient(filesystem: pafs.FileSystem) -> pafs.FileSystem:
    """The same filesystem; S3 with more attempts."""
    if isinstance(filesystem, pafs.S3FileSystem) and not isinstance(filesystem, PatientS3):
        return PatientS3(**_options(filesystem))
    return filesystem


def _options(filesystem: pafs.S3FileSystem) -> dict[str, Any]:
    """What it was made of, without keys that came from the environment."""
    options: dict[str, Any] = pafs.S3FileSystem.__reduce__(filesystem)[1][0]
    return options


def _made_of(options: dict[str, Any]) -> PatientS3:
    return PatientS3(**options)
