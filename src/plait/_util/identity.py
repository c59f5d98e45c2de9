"""What tells a function from others in a dictionary."""

from __future__ import annotations

from types import BuiltinFunctionType, MethodType
from typing import Any


def identity_of(func: Any) -> Any:
    """The function itself; its number where objects of its class may be equal and do something else, or have no hash.

    Who uses the number as a key keeps the function as long as the key.
    """
    comparison: Any = type(func).__eq__
    known = comparison is object.__eq__ or isinstance(func, (MethodType, BuiltinFunctionType))
    return func if known else id(func)
