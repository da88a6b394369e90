"""Local checkpoints that wait for their upload: one per worker, in one directory per training."""

import contextlib
import hashlib
import shutil
import tempfile
import time
from pathlib import Path

POLL_SECONDS = 0.05


class Scratch:
    """One worker's checkpoints in the local directory of its training.

    Args:
        storage: where the checkpoints of the training go; the directory is named after it.
        hang_seconds: longest wait for an upload.
    """

    def __init__(self, storage: str, hang_seconds: float) -> None:
        name = f"baton-checkpoints-{hashlib.sha256(storage.encode()).hexdigest()[:12]}"
        self.root, self._hang_seconds = Path(tempfile.gettempdir(), name), hang_seconds
        self._uploading: Path | None = None  # Ray Train removes it when it is uploaded

    def clear(self) -> None:
        """Remove checkpoints that a killed worker left behind."""
        shutil.rmtree(self.root, ignore_errors=True)

    def directory(self) -> Path:
        """A new directory for the next checkpoint, once that of the one before is uploaded.

        Without this wait, checkpoints that come faster than uploads would fill the disk.

        Raises:
            TimeoutError: the upload takes longer than ``hang_seconds``.
        """
        begun = time.monotonic()
        while self._uploading is not None and self._uploading.exists():
            if time.monotonic() - begun > self._hang_seconds:
                raise TimeoutError(
                    f"a checkpoint's upload has not ended {self._hang_seconds:g} s after the next one was due. "
                    "Remedy: see to the storage, or raise training.checkpoint_every_steps or training.hang_seconds"
                )
            time.sleep(POLL_SECONDS)
        self.root.mkdir(exist_ok=True)
        self._uploading = Path(tempfile.mkdtemp(dir=self.root))
        return self._uploading

    def remove(self) -> None:
        """Remove the training's directory unless another worker still uploads from it."""
        with contextlib.suppress(OSError):
            self.root.rmdir()
