"""What a class's constructor takes: names, defaults, and what annotations say about values, as far as a file can be checked against them."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plait.executors.base import Executor
from plait.launchers.base import Launcher
from plait.providers.base import ExecutionProvider

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Stands for "there is none", where None would be a value.
MISSING: Final[Any] = inspect.Parameter.empty

#: Classes whose objects a file describes: name in annotations -> class. They are often imported for type checkers only.
PORTS: Final[dict[str, type]] = {"Executor": Executor, "ExecutionProvider": ExecutionProvider, "Launcher": Launcher}

_NAMES: Final = {
    "int": "int", "float": "float", "str": "str", "bool": "bool", "None": "none", "NoneType": "none",
    "PathLike": "str", "Path": "str", "list": "list", "List": "list", "Sequence": "list", "Iterable": "list", "Collection": "list",
    "tuple": "tuple", "Tuple": "tuple", "set": "set", "Set": "set", "frozenset": "frozenset", "FrozenSet": "frozenset",
    "dict": "dict", "Dict": "dict", "Mapping": "dict", "MutableMapping": "dict",
    "Callable": "function", "type": "function", "Type": "function", "Any": "any", "object": "any",
}  # fmt: skip
_CALLED: Final = {
    "int": "a whole number", "float": "a number", "str": "text", "bool": "true or false", "list": "a list", "tuple": "a list",
    "set": "a list", "frozenset": "a list", "dict": "a table", "function": "the name of a function, as module:function",
    "object": "a table with `type`",
}  # fmt: skip


@dataclass(frozen=True)
class Expected:
    """What a value may be.

    Attributes:
        kinds: any of ``int float str bool none list tuple set frozenset dict function object any``.
        inner: of the elements of a list, or of the values of a table.
        choices: the texts that are allowed; empty for all.
        port: the class of objects; None for any.
    """

    kinds: frozenset[str]
    inner: Expected | None = None
    choices: tuple[Any, ...] = ()
    port: type | None = None

    @property
    def anything(self) -> bool:
        """Whether nothing is known about it."""
        return "any" in self.kinds

    def takes(self, value: Any) -> bool:
        """Whether a plain value, not a list or table, may stand here."""
        if self.anything or (self.choices and value in self.choices):
            return True
        if isinstance(value, bool):
            return "bool" in self.kinds
        if isinstance(value, int):
            return bool(self.kinds & {"int", "float"})
        if isinstance(value, float):
            return "float" in self.kinds
        if isinstance(value, str):
            return "str" in self.kinds or (bool(self.kinds & {"function", "object"}) and ":" in value)
        return value is None and "none" in self.kinds

    def __str__(self) -> str:
        from plait.configfile.kinds import short_names

        parts = [repr(choice) if not isinstance(choice, str) else f'"{choice}"' for choice in self.choices]
        order = [*_CALLED]
        for kind in sorted(self.kinds & set(order), key=order.index):
            text = _CALLED[kind]
            if kind == "object" and self.port is not None:
                some = short_names(self.port)
                text += f", one of {', '.join(some)}" if some else ""
            if text not in parts and not (kind == "int" and "float" in self.kinds):
                parts.append(text)
        none = ", or nothing (leave the key out)" if "none" in self.kinds else ""
        return (" or ".join(parts) or "something else") + none


_ANY: Final = Expected(frozenset({"any"}))


@dataclass(frozen=True)
class Parameter:
    """One parameter of a constructor.

    Attributes:
        name: of it.
        default: `MISSING` when it must be given.
        expected: what its annotation says.
        positional: whether it can be given by position only.
    """

    name: str
    default: Any
    expected: Expected
    positional: bool = False


_known: dict[type, dict[str, Parameter]] = {}


def parameters(cls: type) -> dict[str, Parameter]:
    """The parameters of a class by name, in order. Where a constructor passes ``**keywords`` on, those of the classes above it too."""
    if cls not in _known:
        _known[cls] = _parameters(cls)
    return _known[cls]


def _parameters(cls: type) -> dict[str, Parameter]:
    found: dict[str, Parameter] = {}
    for each in cls.__mro__:
        init = vars(each).get("__init__")
        if init is None or each is object:
            continue
        try:
            signature = inspect.signature(init)
        except (ValueError, TypeError):
            continue
        _add(found, list(signature.parameters.values())[1:], getattr(init, "__globals__", {}))
        if not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
            return found
    if not found:
        try:
            _add(found, list(inspect.signature(cls).parameters.values()), {})
        except (ValueError, TypeError):
            pass  # written in C: nothing is known, so nothing can be given
    return found


def _add(found: dict[str, Parameter], those: list[inspect.Parameter], names: Mapping[str, Any]) -> None:
    for p in those:
        if p.kind not in {p.VAR_KEYWORD, p.VAR_POSITIONAL} and p.name not in found:
            found[p.name] = Parameter(p.name, p.default, expected(p.annotation, names), p.kind is p.POSITIONAL_ONLY)


def expected(annotation: Any, names: Mapping[str, Any] | None = None) -> Expected:
    """What an annotation says; a name that is not known says nothing.

    Args:
        annotation: text, or whatever Python made of it.
        names: of the module where it stands.
    """
    if annotation is MISSING:
        return _ANY
    text = annotation if isinstance(annotation, str) else _text(annotation)
    try:
        return _read(ast.parse(text, mode="eval").body, names or {})
    except SyntaxError:
        return _ANY


def _text(annotation: Any) -> str:
    return (
        annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else str(annotation)
    )


def _read(node: ast.expr, names: Mapping[str, Any]) -> Expected:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _either([_read(node.left, names), _read(node.right, names)])
    if isinstance(node, ast.Constant):
        if node.value is None:
            return Expected(frozenset({"none"}))
        return expected(node.value, names) if isinstance(node.value, str) else _ANY
    if isinstance(node, ast.Subscript):
        inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return _subscript(_name(node.value), inside, names)
    return _single(_name(node), names)


def _subscript(name: str, inside: list[ast.expr], names: Mapping[str, Any]) -> Expected:
    if name == "Optional":
        return _either([_read(inside[0], names), Expected(frozenset({"none"}))])
    if name == "Union":
        return _either([_read(each, names) for each in inside])
    if name == "Literal":
        return Expected(frozenset(), choices=tuple(each.value for each in inside if isinstance(each, ast.Constant)))
    if name in {"Annotated", "Final", "Required", "NotRequired"}:
        return _read(inside[0], names)
    whole = _single(name, names)
    if whole.kinds & {"list", "set", "frozenset"}:
        return Expected(whole.kinds, _read(inside[0], names))
    if "dict" in whole.kinds:
        return Expected(whole.kinds, _read(inside[-1], names))
    if "tuple" in whole.kinds:
        alike = len(inside) == 2 and isinstance(inside[1], ast.Constant) and inside[1].value is ...
        return Expected(whole.kinds, _read(inside[0], names) if alike else None)
    return whole


def _single(name: str, names: Mapping[str, Any]) -> Expected:
    if name in _NAMES:
        return Expected(frozenset({_NAMES[name]}))
    if name in PORTS:
        return Expected(frozenset({"object"}), port=PORTS[name])
    found = names.get(name)
    if isinstance(found, type) and found.__module__ != "builtins":
        return Expected(frozenset({"object"}))
    return _ANY


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _either(those: list[Expected]) -> Expected:
    inners = [each.inner for each in those if each.inner is not None]
    ports = [each.port for each in those if each.port is not None]
    return Expected(
        frozenset().union(*(each.kinds for each in those)),
        _either(inners) if len(inners) > 1 else inners[0] if inners else None,
        tuple(choice for each in those for choice in each.choices),
        ports[0] if ports else None,
    )
