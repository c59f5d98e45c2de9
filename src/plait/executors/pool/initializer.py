"""The function that each worker calls before its first task, as users give it and as workers are told it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.errors import ConfigurationError
from plait.serialize import FunctionBlob, dumps

if TYPE_CHECKING:
    from collections.abc import Callable


def checked(owner: str, initializer: Any, initargs: Any) -> tuple[Any, ...]:
    """The arguments as a tuple.

    Args:
        owner: the class of the executor, for the error.
        initializer: the function, or None for none.
        initargs: its arguments.

    Raises:
        ConfigurationError: one of them is something else.
    """
    if initializer is not None and not callable(initializer):
        raise ConfigurationError(f"{owner}(initializer={initializer!r}): expected a function, or None")
    if isinstance(initargs, (str, bytes)) or not hasattr(initargs, "__iter__"):
        raise ConfigurationError(f"{owner}(initargs={initargs!r}): expected a tuple of arguments of the initializer")
    return tuple(initargs)


def as_told(initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> bytes:
    """What workers are told; empty for no function."""
    return b"" if initializer is None else dumps((FunctionBlob(initializer).data, initargs))
