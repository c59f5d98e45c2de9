"""Classes and functions by their names in files: ``SlurmProvider``, ``mycode:MyProvider``, ``mycode:retry_handler``."""

from __future__ import annotations

import difflib
import importlib
import types
from typing import Any, Final

#: Modules whose classes have short names. They are found by name only: this room knows none of them.
_ROOMS: Final = (
    "plait.executors",
    "plait.providers",
    "plait.launchers",
    "plait.scaling.policy",
    "plait.scaling.demand",
    "plait.dataflow.memo",
    "plait.dataflow.retry",
)


class UnknownName(Exception):
    """A name in a file means nothing."""


def find_class(name: str) -> type:
    """The class of a ``type``.

    Raises:
        UnknownName: there is none, with the reason and names that are like it.
    """
    if ":" in name:
        found = find_reference(name)
        if not isinstance(found, type):
            raise UnknownName(f"{name!r} is a {type(found).__name__}, not a class")
        return found
    for room in _ROOMS:
        found = _in_room(room, name)
        if isinstance(found, type):
            return found
    every = [each for room in _ROOMS for each in _names(room)]
    close = difflib.get_close_matches(name, every, 1, 0.6)
    hint = f"did you mean {close[0]}?" if close else "name a class of your own as module:Class"
    raise UnknownName(f"there is no class {name!r} in plait; {hint}")


def _in_room(room: str, name: str) -> Any:
    try:
        module = importlib.import_module(room)
    except ImportError:
        return None
    if name not in _names(room):
        return None
    try:
        return getattr(module, name, None)
    except ImportError as error:  # an optional package is missing
        raise UnknownName(f"{name} cannot be loaded: {error}") from error


def _names(room: str) -> list[str]:
    try:
        module = importlib.import_module(room)
    except ImportError:
        return []
    names = getattr(module, "__all__", None)
    if names is not None:
        return list(names)
    return [name for name, value in vars(module).items() if isinstance(value, type) and value.__module__ == room]


def short_names(port: type) -> list[str]:
    """The names of plait's classes that implement a port, sorted."""
    found = set()
    for room in _ROOMS[:3]:
        for name in _names(room):
            try:
                value = getattr(importlib.import_module(room), name, None)
            except ImportError:
                continue
            if isinstance(value, type) and issubclass(value, port) and not getattr(value, "__abstractmethods__", None):
                found.add(name)
    return sorted(found)


def find_reference(text: str) -> Any:
    """What ``module:name`` stands for; ``name`` may have dots.

    Raises:
        UnknownName: there is no such thing, with the reason.
    """
    module_name, _, name = text.partition(":")
    if not (module_name and name and all(part.isidentifier() for part in (*module_name.split("."), *name.split(".")))):
        raise UnknownName(f"{text!r} is no name; expected module:name, such as mycode:retry_handler")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            raise UnknownName(
                f"there is no module {error.name!r}; install it, or put its folder on PYTHONPATH"
            ) from error
        raise UnknownName(f"module {module_name!r} cannot be imported: {error}") from error
    except Exception as error:  # any code may stand there
        raise UnknownName(f"module {module_name!r} cannot be imported: {type(error).__name__}: {error}") from error
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            close = difflib.get_close_matches(part, dir(found), 1, 0.6)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise UnknownName(f"{module_name!r} has no {part!r}{hint}") from None
    return found


def name_of_class(cls: type) -> str:
    """What stands as ``type`` of an object.

    Raises:
        UnknownName: a file cannot name the class.
    """
    for room in _ROOMS:
        if _in_room(room, cls.__name__) is cls:
            return str(cls.__name__)
    return reference_to(cls)


def reference_to(value: Any) -> str:
    """``module:name`` of a function, a class, or a constant of the module of its class.

    Raises:
        UnknownName: it has no name by which others could find it, with the reason.
    """
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None)
    if isinstance(value, types.MethodType):
        raise UnknownName("methods of objects have no name that a file could hold; write a function in a module")
    if not isinstance(name, str) or not isinstance(module, str):
        return _constant(value)
    if module == "__main__":
        raise UnknownName(
            f"{name} stands in the main program; put it into a module of its own, so that a file can name it"
        )
    if "<" in name:
        raise UnknownName(f"{name} of module {module} is not at the top of its module; put it there, with a name")
    text = f"{module}:{name}"
    if find_reference(text) is not value:
        raise UnknownName(f"{text} is something else by now")
    return text


def _constant(value: Any) -> str:
    module = type(value).__module__
    if module not in {"__main__", "builtins"}:
        for name, each in vars(importlib.import_module(module)).items():
            if each is value and not name.startswith("_"):
                public = module.split(".")[0]
                is_public = getattr(importlib.import_module(public), name, None) is value
                return f"{public if is_public else module}:{name}"
    raise UnknownName(f"an object of {type(value).__qualname__} has no name that a file could hold")
