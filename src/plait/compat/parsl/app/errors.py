"""``parsl.app.errors``."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from plait.errors import (
    AppBadFormatting,
    AppException,
    AppTimeout,
    BadStdStreamFile,
    BashAppNoReturn,
    BashExitFailure,
    MissingOutputs,
)
from plait.errors import PlaitError as ParslError
from plait.serialize import dump_error, load_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import NoReturn

__all__ = [
    "AppBadFormatting",
    "AppException",
    "AppTimeout",
    "BadStdStreamFile",
    "BashAppNoReturn",
    "BashExitFailure",
    "MissingOutputs",
    "ParslError",
    "RemoteExceptionWrapper",
    "wrap_error",
]

P = ParamSpec("P")
R = TypeVar("R")


class RemoteExceptionWrapper:
    """An exception as a value that can be sent, with its traceback and causes."""

    def __init__(self, e_type: type, e_value: BaseException, traceback: TracebackType | None) -> None:
        self.e_type = e_type
        self._data = dump_error(e_value if traceback is None else e_value.with_traceback(traceback))

    def get_exception(self) -> BaseException:
        return load_error(self._data)

    def reraise(self) -> NoReturn:
        raise self.get_exception()


def wrap_error(func: Callable[P, R]) -> Callable[P, R | RemoteExceptionWrapper]:
    """The function, returning its exceptions as values."""

    @functools.wraps(func)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return func(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - that is what it is for
            return RemoteExceptionWrapper(type(error), error, error.__traceback__)

    return wrapper
