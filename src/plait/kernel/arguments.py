"""What a call says beside the function's own arguments: files, streams, limits, resources."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from plait.errors import InvalidResourceSpecification
from plait.futures import AppFuture, DataFuture
from plait.model.files import File, as_file
from plait.model.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from plait.model.task import Task

#: Stands for a file name that the kernel chooses.
AUTO_LOGNAME: Final = -1

#: Keywords that the kernel reads. The function gets those that it declares.
RESERVED: Final = frozenset(
    {"inputs", "outputs", "stdout", "stderr", "walltime", "parsl_resource_specification", "label"}
)


def read_reserved(task: Task, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Reads the reserved keywords of a call into the task's details.

    Returns:
        The keywords for the function, and ``inputs`` whether it takes them or not. The caller's lists are never changed: it gets copies.

    Raises:
        InvalidResourceSpecification, ValueError, TypeError: naming the keyword, its value and what was expected.
    """
    app = task.app
    given = {**app.reserved_defaults, **{key: kwargs[key] for key in RESERVED & kwargs.keys()}}
    details = task.more()
    passed = dict(kwargs)
    if given.get("inputs") is not None and "inputs" in given:
        passed["inputs"] = _inputs(given["inputs"])
    if not is_nothing(given.get("outputs")):
        files = [as_file(value) for value in _sequence("outputs", given["outputs"])]
        for file in files:
            _local_only(file)
        details.outputs_files = [file.cleancopy() for file in files]
        details.outputs = [DataFuture(_future_of(task), file) for file in files]
        passed["outputs"] = [file.cleancopy() for file in files]
    details.label = given.get("label", app.label)
    for name in ("stdout", "stderr"):
        if given.get(name) is not None:
            setattr(details, name, given[name])
    if given.get("walltime") is not None:
        details.walltime_s = parse_duration(given["walltime"])
    spec = given.get("parsl_resource_specification")
    if spec:
        _read_specification(task, spec)
    if app.accepts is not None:
        for key in RESERVED - app.accepts - {"inputs"}:
            passed.pop(key, None)
    return passed


def _read_specification(task: Task, spec: Any) -> None:
    if not isinstance(spec, dict):
        raise InvalidResourceSpecification({"parsl_resource_specification"}, f"expected a dictionary, not {spec!r}")
    details = task.more()
    details.spec = dict(spec)
    details.resources, walltime_s = task.owner.read_specification(task, spec)
    if walltime_s is not None:
        details.walltime_s = walltime_s


def is_nothing(value: Any) -> bool:
    """Whether a list of something was left open, or has nothing in it."""
    return value is None or (isinstance(value, (list, tuple)) and not value)


def _inputs(value: Any) -> Any:
    sequence = _sequence("inputs", value)
    if isinstance(value, Mapping) or hasattr(value, "__array__"):  # in a list it would lose what it is
        return value
    items = list(sequence)
    refuse_remote_files(items)
    return [item.cleancopy() if isinstance(item, File) and item.local_path is None else item for item in items]


def _sequence(name: str, value: Any) -> Any:
    if (
        isinstance(value, (str, bytes, os.PathLike, File))
        or not hasattr(value, "__iter__")
        or isinstance(value, AppFuture)
    ):
        raise TypeError(f"{name}={value!r}: expected a list; write {name}=[{value!r}]")
    return value


def _future_of(task: Task) -> AppFuture[Any]:
    future: AppFuture[Any] | None = task.future
    assert future is not None  # noqa: S101 - it was just made
    return future


def refuse_remote_files(values: Any) -> None:
    """Refuses files that nothing here can fetch.

    Raises:
        ValueError: naming the file.
    """
    for value in values:
        if isinstance(value, File):
            _local_only(value)


def _local_only(file: File) -> None:
    if file.scheme != "file" and file.local_path is None:
        raise ValueError(
            f"File({file.url!r}): no staging provider for {file.scheme}:// files; fetch it in a task and pass its path"
        )


def choose_stream_names(task: Task, autopath: Callable[[Task, str], Any]) -> None:
    """Puts a name where the call said AUTO_LOGNAME, for the function too, and a DataFuture where it named a File."""
    details = task.more()
    for name in ("stdout", "stderr"):
        spec = getattr(details, name)
        if isinstance(spec, int) and not isinstance(spec, bool) and spec == AUTO_LOGNAME:
            spec = autopath(task, name)
            if task.app.accepts is None or name in task.app.accepts:
                task.kwargs[name] = spec
            details.ignore_for_cache = (*details.ignore_for_cache, *task.app.ignore_for_cache, name)
        if isinstance(spec, File):
            _local_only(spec)
            future = DataFuture(_future_of(task), spec)
            details.outputs_hidden.append(future)
            spec = future
        setattr(details, name, spec)
