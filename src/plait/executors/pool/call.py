"""A call that is more than ``func(*args, **kwargs)``: a shell command, captured output, an environment of its own."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from plait.executors.pool.streams import capture_process, capture_thread

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping, Sequence


class Call(NamedTuple):
    """How to run a function.

    Attributes:
        kind: ``python``, or ``bash`` when the function returns a command line to be run.
        name: of the app, for messages.
        stdout: path and mode of the file for standard output; None to leave it where it goes.
        stderr: likewise for standard error.
        outputs: paths that must be there when a command has succeeded.
        walltime_s: seconds after which a command is ended. The limit of a python call is kept by whoever owns the process.
        env: environment variables for the time of the call.
    """

    kind: str
    name: str
    stdout: tuple[str, str] | None = None
    stderr: tuple[str, str] | None = None
    outputs: tuple[str, ...] = ()
    walltime_s: float | None = None
    env: tuple[tuple[str, str], ...] = ()


def run_call(
    func: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    call: Call,
    *,
    in_thread: bool,
    began: Callable[[subprocess.Popen[bytes]], None] | None = None,
) -> Any:
    """Runs the function and returns its result; 0 for a command.

    Args:
        func: the user's function.
        args: its positional arguments.
        kwargs: its named arguments.
        call: how to run it.
        in_thread: whether other tasks run in this process at the same time. Then its environment and its descriptors are not touched:
            ``env`` reaches commands only, and of python calls only what is written through `sys.stdout` and `sys.stderr` is captured.
        began: is given the process of a command, which leads its group.
    """
    if call.kind == "bash":
        from plait.executors.pool.bash import run_bash

        with contextlib.nullcontext() if in_thread else _environment(call.env):
            return run_bash(func, args, kwargs, call, in_thread=in_thread, began=began)
    if in_thread:
        with capture_thread(call.stdout, call.stderr):
            return func(*args, **kwargs)
    with _environment(call.env), capture_process(call.stdout, call.stderr):
        return func(*args, **kwargs)


@contextlib.contextmanager
def _environment(env: tuple[tuple[str, str], ...]) -> Iterator[None]:
    """Sets variables, and puts back what they were."""
    before = [(name, os.environ.get(name)) for name, _ in env]
    os.environ.update(env)
    try:
        yield
    finally:
        for name, value in before:
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
