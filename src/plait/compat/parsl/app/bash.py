"""``parsl.app.bash``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.compat.parsl.app.app import AppBase
from plait.executors.pool.call import Call, run_call
from plait.executors.pool.streams import get_std_fname_mode
from plait.model.files import as_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plait.compat.parsl.dataflow.dflow import DataFlowKernel

__all__ = ["BashApp", "remote_side_bash_executor"]


class BashApp(AppBase):
    """An app of a function that returns a command line."""

    kind = "bash"

    def __init__(
        self,
        func: Callable[..., Any],
        data_flow_kernel: DataFlowKernel | None = None,
        cache: bool = False,
        executors: list[str] | str = "all",
        ignore_for_cache: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(func, data_flow_kernel, executors, cache, ignore_for_cache, **options)


def remote_side_bash_executor(func: Callable[..., str], *args: Any, **kwargs: Any) -> int:
    """Runs the command line that the function returns, here and now."""
    out, err = (
        None if kwargs.get(name) is None else get_std_fname_mode(name, kwargs[name]) for name in ("stdout", "stderr")
    )
    outputs = tuple(as_file(output).filepath for output in kwargs.get("outputs") or ())
    walltime = kwargs.get("walltime")
    call = Call(
        "bash",
        getattr(func, "__name__", type(func).__name__),
        out,
        err,
        outputs,
        None if walltime is None else float(walltime),
    )
    return run_call(func, args, kwargs, call, in_thread=True)  # type: ignore[no-any-return]
