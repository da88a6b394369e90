"""The optional manual approval between gate and promotion."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

from orchestration.links import ReportLink

if TYPE_CHECKING:
    from airflow.sdk import Context


class PromotionApproval(ApprovalOperator):
    """Ask in Airflow's UI whether to promote the model, where the run's configuration says so; else pass at once.

    Rejected, or without an answer within ``response_timeout``: promotion and what follows are skipped, the promoted
    model stays the one it was, and the run's record says why.

    Args:
        run_dir: the run's directory; a template.
    """

    operator_extra_links = (ReportLink(),)
    template_fields: Collection[str] = ("run_dir",)  # the question holds figures and names: nothing to render

    def __init__(self, *, run_dir: str, **kwargs: Any) -> None:
        super().__init__(subject="Promote the tuned model?", defaults=ApprovalOperator.REJECT, **kwargs)
        self.run_dir = run_dir

    def execute(self, context: "Context") -> Any:
        from handoff.gate import gate_of
        from handoff.run_dir import RunDir

        run = RunDir(self.run_dir)
        promotion = run.config["promotion"]
        if not promotion["approval"]:
            self.log.info("promotion.approval is off: nobody is asked")
            return None
        evaluated = run.record("evaluate")
        gate = gate_of(evaluated)
        criteria = "".join(f"\n- {verdict}" for verdict in gate.verdicts) if gate else ""
        self.subject = f"Promote {promotion['model_name']}?"
        self.body = (
            f"{evaluated.headline if evaluated else 'not evaluated'}. Approve: it becomes the "
            f"{promotion['alias']}. Reject, or no answer within {self.response_timeout}: nothing is promoted."
            f"{criteria}"
        )
        return super().execute(context)

    def execute_complete(self, context: "Context", event: dict[str, Any]) -> Any:
        from handoff.run_dir import RunDir

        if event.get("chosen_options") == [self.REJECT]:
            who = event.get("responded_by_user")
            reason = (
                f"promotion was rejected by {who['name']}"
                if who
                else f"nobody approved the promotion within {self.response_timeout}"
            )
            self.log.info("%s", reason)
            RunDir(self.run_dir).skip("promote", reason)
        return super().execute_complete(context, event)
