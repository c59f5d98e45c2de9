"""A task as bytes for a worker, made in the thread that submits it, so that what cannot be sent is told where it was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.errors import SerializationError
from plait.executors.pool.call import Call
from plait.executors.pool.streams import get_std_fname_mode
from plait.executors.pool.wire import NO_FILES, Segments, dump_value, open_files_limit
from plait.futures import DataFuture
from plait.limits import MAX_WAITING_FILES
from plait.serialize import FunctionBlob

if TYPE_CHECKING:
    from plait.model.task import Task


def prepare(task: Task) -> None:
    """Sets the task's payload and its app's function blob.

    Raises:
        SerializationError: naming the argument and the part of it that cannot be sent.
    """
    app = task.app
    blob = app.blob
    if blob is None or not blob.is_current():
        app.blob = FunctionBlob(app.func)
    if task.payload is not None:
        return
    call = call_of(task)
    what: tuple[Any, ...] = (task.args, task.kwargs) if call is None else (task.args, task.kwargs, call)
    try:
        try:
            task.payload = dump_value(what, in_file=Segments.waiting < min(MAX_WAITING_FILES, open_files_limit() // 4))
        except OSError as error:
            if error.errno not in NO_FILES:
                raise
            task.payload = dump_value(what, in_file=False)
    except SerializationError as error:
        raise SerializationError(f"{task.app.name}(): {_argument(error)}", error.reason) from error.__cause__


def call_of(task: Task) -> Call | None:
    """How the call is to be run; None when it needs nothing but being called."""
    app = task.app
    details = task.details
    if details is None:
        if app.kind == "bash":
            return Call("bash", app.name, None, None, (), app.walltime_s, ())
        return None
    kind = "bash" if app.kind == "bash" else "python"
    if kind == "python" and details.stdout is None and details.stderr is None and not details.spec:
        return None
    walltime_s = details.walltime_s if details.walltime_s is not None else app.walltime_s
    outputs = tuple(file.filepath for file in details.outputs_files if file.scheme == "file") if kind == "bash" else ()
    stdout, stderr = (_stream(name, spec) for name, spec in (("stdout", details.stdout), ("stderr", details.stderr)))
    env = tuple(
        (f"{prefix}_{key.upper()}", str(value)) for key, value in details.spec.items() for prefix in ("PLAIT", "PARSL")
    )
    return Call(kind, app.name, stdout, stderr, outputs, walltime_s, env)


def _stream(name: str, spec: Any) -> tuple[str, str] | None:
    if spec is None:
        return None
    return get_std_fname_mode(name, spec.file_obj if isinstance(spec, DataFuture) else spec)


def _argument(error: SerializationError) -> str:
    """``argument 1[0].lock`` for the path ``[0][1][0].lock`` of (args, kwargs)."""
    path = error.fname
    if path.startswith("[0]["):
        index, _, rest = path[4:].partition("]")
        return f"argument {index}{rest}"
    if path.startswith("[1]["):
        name, _, rest = path[4:].partition("]")
        return f"argument {name.strip(chr(39))}{rest}"
    return path
