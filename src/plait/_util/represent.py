"""How objects that are made of parameters show themselves."""

from __future__ import annotations

import inspect
from typing import Any


def parameters(thing: object) -> dict[str, Any]:
    """The parameters that its constructor was given, as far as they are kept under their names, without those that have their default."""
    found = {}
    for name, parameter in inspect.signature(type(thing).__init__).parameters.items():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD} or not hasattr(thing, name):
            continue
        value = getattr(thing, name)
        if parameter.default is parameter.empty or not _same(value, parameter.default):
            found[name] = value
    return found


def represent(thing: object) -> str:
    """``Name(parameter=value)``."""
    return f"{type(thing).__name__}({', '.join(f'{name}={value!r}' for name, value in parameters(thing).items())})"


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)
