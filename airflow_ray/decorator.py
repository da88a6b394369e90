"""``@task.ray``: a Python function that runs as a job on a Ray cluster, its return value in an XCom."""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.bases.decorator import DecoratedOperator, TaskDecorator, task_decorator_factory

from airflow_ray.operator import RayJobOperator
from airflow_ray.result import RESULT_MARK

if TYPE_CHECKING:
    from airflow.sdk import Context

# Linux takes at most 128 KiB as one argument of a process, and Ray hands the whole command to a shell as one.
SCRIPT_BYTES = 100 << 10
SCRIPT = """\
import json, sys
{source}
_arguments = json.loads({given!r})
_result = {name}(*_arguments["args"], **_arguments["kwargs"])
try:
    _text = json.dumps(_result, allow_nan=False)
except (TypeError, ValueError) as _error:
    print("ERROR {name} returned what JSON cannot hold:", _error)
    sys.exit(2)
print("{mark}" + _text, flush=True)
"""


class _RayDecoratedOperator(DecoratedOperator, RayJobOperator):
    """RayJobOperator whose command is a function's source and its arguments."""

    custom_operator_name = "@task.ray"
    template_fields: Sequence[str] = (
        "op_args",
        "op_kwargs",
        *(field for field in RayJobOperator.template_fields if field != "entrypoint"),
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **RayJobOperator.template_fields_renderers,
    }
    shallow_copy_attrs: Sequence[str] = ("python_callable",)

    def __init__(self, *, xcom_result: bool = True, python: str = "python", **kwargs: Any) -> None:
        self.python = python
        super().__init__(entrypoint=[python], xcom_result=xcom_result, **kwargs)

    def _command(self, context: "Context") -> list[str]:
        name = self.python_callable.__name__
        kwargs = self.determine_kwargs({**context, **self.op_kwargs})
        try:
            given = json.dumps({"args": list(self.op_args), "kwargs": dict(kwargs)}, allow_nan=False, default=_listed)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"the arguments of {name} are no JSON ({error}). Remedy: pass texts, numbers, lists and dictionaries"
            ) from error
        script = SCRIPT.format(source=self.get_python_source(), given=given, name=name, mark=RESULT_MARK)
        if (size := len(script.encode())) > SCRIPT_BYTES:
            raise ValueError(
                f"{name} and its arguments have {size} bytes, at most {SCRIPT_BYTES} go into a command. "
                "Remedy: write the data to storage and pass its address, or ship code with working_dir"
            )
        return [self.python, "-c", script]


def _listed(value: Any) -> list[Any]:
    """The results of a mapped task, which Airflow hands over as a sequence that it fetches item by item."""
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"a {type(value).__name__} is among them")


def ray_task(
    python_callable: Callable[..., Any] | None = None, multiple_outputs: bool | None = None, **kwargs: Any
) -> TaskDecorator:
    """Run a function as a job on a Ray cluster.

    Its source is sent with its arguments, which are JSON, as the return value is; what it imports it imports itself. It
    runs as the job's driver, where ``ray.init()`` finds the cluster.

    Args:
        python_callable: the function.
        multiple_outputs: push every key of the returned dictionary as an XCom of its own.
        **kwargs: as :class:`airflow_ray.operator.RayJobOperator`; also ``python``, the interpreter on the cluster.
    """
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=_RayDecoratedOperator,
        **kwargs,
    )
