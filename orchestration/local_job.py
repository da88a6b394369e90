"""JobOperator: run one of the project's jobs as a process of the Airflow worker."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from handoff.errors import EXIT_USER_ERROR
from orchestration.links import ReportLink

if TYPE_CHECKING:
    from airflow.sdk import Context


def names_a_directory(run_dir: str) -> bool:
    """Whether a plan handed on a directory: an absent XCom renders as the text "None"."""
    return "/" in run_dir


class JobOperator(BaseOperator):
    """Run ``python -m <module> RUN_DIR`` in its own process, without a shell, and copy its output to the log.

    Args:
        module: the job's module, such as ``registry.promote``.
        run_dir: the run's directory; a template.

    Raises:
        AirflowFailException: the job's exit code says that a retry cannot help.
        AirflowSkipException: there is no run directory, because *plan* failed or was skipped.
        AirflowException: anything else.
    """

    template_fields: Sequence[str] = ("run_dir",)
    operator_extra_links = (ReportLink(),)

    def __init__(self, *, module: str, run_dir: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.module = module
        self.run_dir = run_dir
        self._hook = SubprocessHook()

    def execute(self, context: "Context") -> None:
        if not names_a_directory(self.run_dir):
            raise AirflowSkipException("the plan made no run directory")
        done = self._hook.run_command([sys.executable, "-m", self.module, self.run_dir])
        if done.exit_code == EXIT_USER_ERROR:
            raise AirflowFailException(done.output)
        if done.exit_code != 0:
            raise AirflowException(f"{self.module} ended with exit code {done.exit_code}: {done.output}")

    def on_kill(self) -> None:
        self._hook.send_sigterm()
