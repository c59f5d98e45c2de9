"""Functions as bytes that change when what they do changes.

The key of a function is made of its byte code (without what comments, formatting and line numbers leave in it), its defaults, the values that
it closes over, and the globals that it names: plain values as they are, functions and classes of the user's own code by *their* code,
and so on from there. Libraries count by name and version. Docstrings and annotations do not count.

Not seen: what a function imports while it runs, names that it computes, and the inside of globals of types that `id_for_memo` does not know
(a logger, a connection): of these the type counts.

Functions may refer to each other in circles, and two may have the same name (closures made by one function).
So each gets a colour: at first its name, then, in rounds, the digest of all its parts with the colours of the functions that it refers to,
until a round tells no more functions apart. No recursion from function to function, and no order of visits in the result.
"""

from __future__ import annotations

import builtins
import dis
import functools
import sys
import sysconfig
from contextvars import ContextVar
from hashlib import blake2b
from types import BuiltinFunctionType, CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from plait.dataflow.memo_id import UnknownTypeForMemo, part, register, stand_in, tagged, text, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: Functions whose key is remembered.
_REMEMBERED: Final = 4096
_MISSING: Final = object()
_JUMPS: Final = frozenset(dis.hasjrel) | frozenset(dis.hasjabs)
_CONSTANTS: Final = frozenset(dis.hasconst)
_NOTHING: Final = frozenset({"NOP", "EXTENDED_ARG", "CACHE"})
#: Notes about the source that newer compilers store in class bodies.
_SOURCE_NOTES: Final = frozenset({"__firstlineno__", "__static_attributes__"})
#: Of a class's attributes, those that say nothing about what it does.
_CLASS_NOTES: Final = _SOURCE_NOTES | {
    "__dict__", "__weakref__", "__module__", "__qualname__", "__doc__", "__annotations__", "__annotate__", "__annotate_func__",
    "__annotations_cache__", "__parameters__", "__orig_bases__", "_abc_impl", "__dataclass_fields__", "__dataclass_params__",
}  # fmt: skip
#: Types whose values never change, so that the same object is the same value.
_FIXED: Final = (
    int,
    float,
    complex,
    str,
    bytes,
    type(None),
    type(Ellipsis),
    FunctionType,
    BuiltinFunctionType,
    ModuleType,
    type,
)


def code_key(func: Callable[..., Any]) -> bytes:
    """The key of a function's code and of what it refers to; remembered until something of that changes.

    Raises:
        ValueError: it closes over a value, or is bound to one, of a type that `id_for_memo` does not know.
    """
    try:
        known = _remembered.get(func)
    except TypeError:  # an object that can be called, but not hashed
        return CodeKey(func).key
    if known is None or not known.is_current():
        if len(_remembered) >= _REMEMBERED:
            _remembered.clear()
        known = _remembered[func] = CodeKey(func)
    return known.key


class CodeKey:
    """A key with what it was made from, so that a change is noticed.

    Attributes:
        key: 32 bytes.
    """

    __slots__ = ("_contents", "_functions", "_names", "key")

    def __init__(self, func: Callable[..., Any]) -> None:
        walk = _Walk()
        self.key = walk.run(func)
        self._functions = [
            (f, f.__code__, f.__defaults__, f.__kwdefaults__)
            for f in walk.nodes.values()
            if isinstance(f, FunctionType)
        ]
        self._names = [(space, name, value) for space, name, value in walk.used]
        changing = [value for value in walk.values if not _is_fixed(value)]
        self._contents = [(value, _contents(value)) for value in changing]

    def is_current(self) -> bool:
        """Whether everything that the key was made from is still the same."""
        for func, code, defaults, kwdefaults in self._functions:
            if func.__code__ is not code or func.__defaults__ is not defaults or func.__kwdefaults__ is not kwdefaults:
                return False
        for space, name, value in self._names:
            if space.get(name, _MISSING) is not value:
                return False
        return all(_contents(value) == before for value, before in self._contents)


def _is_fixed(value: Any) -> bool:
    """Whether the value can never change in place, what it refers to being watched by itself."""
    if type(value) in (tuple, frozenset):
        return all(map(_is_fixed, value))
    return isinstance(value, _FIXED)


_remembered: dict[Any, CodeKey] = {}
_walk: ContextVar[_Walk | None] = ContextVar("walk", default=None)


def _contents(value: Any) -> bytes:
    """Bytes of a value that can change in place; functions in it count by name, since each is watched by itself."""
    walk = _Walk()
    with walk:
        return walk.value(value, lenient=True)


# ------------------------------------------------------------------ the walk
class _Walk:
    """One reading of a function and of all that it refers to.

    Attributes:
        nodes: functions and classes found, by identity.
        used: (names, name, value): what was looked up.
        values: what was turned into bytes.
    """

    def __init__(self) -> None:
        self.nodes: dict[int, Any] = {}
        self.used: list[tuple[Mapping[str, Any], str, Any]] = []
        self.values: list[Any] = []
        self._strict: set[int] = set()  # those in which an unknown type is an error
        self._colours: dict[int, bytes] = {}
        self._codes: dict[CodeType, bytes] = {}
        self._tokens: list[Any] = []

    def __enter__(self) -> None:
        self._tokens.append(_walk.set(self))

    def __exit__(self, *_: object) -> None:
        _walk.reset(self._tokens.pop())

    def run(self, func: Any) -> bytes:
        """The key of a function."""
        with self:
            self.value(func, lenient=False)  # finds the first nodes; they find the others
            distinct = 0
            while True:
                self.used.clear()
                self.values.clear()
                colours, done = {}, 0
                while done < len(self.nodes):  # a node may find further nodes
                    for identity, node in list(self.nodes.items())[done:]:
                        colours[identity] = blake2b(
                            self._describe(identity, node), digest_size=16, person=b"plait.memo.node"
                        ).digest()
                        done += 1
                self._colours = colours
                now = len(set(colours.values()))
                if now <= distinct:
                    break
                distinct = now
            root = self.value(func, lenient=False)
        version = sys.implementation.cache_tag or sys.version
        body = b"".join((text(version), root, *sorted(set(colours.values()))))
        return blake2b(body, digest_size=32, person=b"plait.memo.code").digest()

    def value(self, value: Any, *, lenient: bool) -> bytes:
        """Bytes of a value that a function refers to."""
        self.values.append(value)
        token = stand_in.set(self._unknown if lenient else None)
        try:
            return part(value)
        finally:
            stand_in.reset(token)

    def refer(self, node: Any) -> bytes:
        """A function or class of the user's code: its colour. It is described when its turn comes."""
        if id(node) not in self.nodes:
            self.nodes[id(node)] = node
            if stand_in.get() is None:
                self._strict.add(id(node))
        return tagged(b"R", self._colours.get(id(node)) or _name(node))

    def _unknown(self, value: Any) -> bytes:
        """A value that stands for something outside, such as a logger; an app, or a function in another's coat, for that function."""
        inner = _inner(value)
        if inner is not None:
            return tagged(b"W", text(type_name(type(value))) + part(inner))
        return tagged(b"X", part(type(value)))

    def _describe(self, identity: int, node: Any) -> bytes:
        if isinstance(node, type):
            return self._class(node)
        return self._function(node, lenient=identity not in self._strict)

    def _function(self, func: FunctionType, *, lenient: bool) -> bytes:
        pieces = [_name(func), self._code(func.__code__)]
        # What a decorator keeps for itself is its own affair, if it says which function it stands before.
        is_coat = hasattr(func, "__wrapped__")
        names = func.__code__.co_freevars
        for name, cell in zip(names, func.__closure__ or (), strict=True):
            try:
                content = cell.cell_contents
            except ValueError:  # not assigned yet
                content = None
            same_wrapped = is_coat and content is func.__wrapped__  # type: ignore[attr-defined]
            with _naming(f"{_shown(func)}, closure variable {name}"):
                pieces.append(self.value(content, lenient=lenient or (is_coat and not same_wrapped)))
        with _naming(f"{_shown(func)}, default values"):
            pieces.append(self.value(func.__defaults__, lenient=lenient))
            keywords = func.__kwdefaults__ or {}
            pieces.extend(
                text(name) + self.value(self._look_up(keywords, name), lenient=lenient) for name in sorted(keywords)
            )
        pieces += [
            text(".".join(path)) + self._global(func.__globals__, path) for path in sorted(_globals_of(func.__code__))
        ]
        return b"".join(pieces)

    def _global(self, space: Mapping[str, Any], path: tuple[str, ...]) -> bytes:
        """What a global name stands for; for ``module.name`` with a module of the user's code, what that stands for."""
        value = self._look_up(space, path[0])
        if value is _MISSING:
            return text("builtin" if hasattr(builtins, path[0]) else "missing")
        for name in path[1:]:
            if not isinstance(value, ModuleType) or not is_first_party(value.__name__):
                break
            inner = self._look_up(vars(value), name)
            if inner is _MISSING:
                break
            value = inner
        return self.value(value, lenient=True)

    def _look_up(self, space: Mapping[str, Any], name: str) -> Any:
        value = space.get(name, _MISSING)
        self.used.append((space, name, value))
        return value

    def _class(self, cls: type) -> bytes:
        pieces = [_name(cls), self.value(cls.__bases__, lenient=True)]
        space = vars(cls)
        for name in sorted(space.keys() - _CLASS_NOTES):
            value = self._look_up(space, name)
            if isinstance(value, (staticmethod, classmethod)):
                value = (type(value).__name__, value.__func__)
            elif isinstance(value, property):
                value = ("property", value.fget, value.fset, value.fdel)
            pieces.append(text(name) + self.value(value, lenient=True))
        return b"".join(pieces)

    def _code(self, code: CodeType) -> bytes:
        found = self._codes.get(code)
        if found is None:
            found = self._codes[code] = code_form(code)
        return found


class _naming:  # noqa: N801 - reads as a statement
    """Puts the name of a function before the place of a value of unknown type in it."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        if isinstance(error, UnknownTypeForMemo):
            raise error.under(self.where) from None


# ------------------------------------------------------------------ functions, classes and modules as values
@register(FunctionType)
def _function_value(func: FunctionType, output_ref: bool) -> bytes:  # noqa: ARG001
    walk = _walk.get()
    if walk is None:
        return tagged(b"K", code_key(func))
    return walk.refer(func) if is_first_party(func.__module__) else _library_name(func)


@register(type)
def _class_value(cls: type, output_ref: bool) -> bytes:  # noqa: ARG001
    walk = _walk.get()
    if walk is None:
        return tagged(b"K", code_key(cls))
    return walk.refer(cls) if is_first_party(cls.__module__) else _library_name(cls)


@register(BuiltinFunctionType)
def _builtin_value(func: BuiltinFunctionType, output_ref: bool) -> bytes:
    owner = func.__self__
    if owner is None or isinstance(owner, (ModuleType, type)):
        return _library_name(func)
    return tagged(b"B", text(func.__qualname__) + part(owner, output_ref))  # [1, 2].append


@register(MethodType)
def _method_value(method: MethodType, output_ref: bool) -> bytes:
    try:
        owner = part(method.__self__, output_ref)
    except UnknownTypeForMemo as error:
        raise error.under(f"{_shown(method)}, self") from None
    return tagged(b"M", part(method.__func__) + owner)


@register(functools.partial)
def _partial_value(func: functools.partial[Any], output_ref: bool) -> bytes:
    pieces = [part(func.func)]
    for where, values in (("args", func.args), ("keywords", func.keywords)):
        try:
            pieces.append(part(values, output_ref))
        except UnknownTypeForMemo as error:
            raise error.under(f"partial.{where}") from None
    return tagged(b"A", b"".join(pieces))


@register(ModuleType)
def _module_value(module: ModuleType, output_ref: bool) -> bytes:  # noqa: ARG001
    return tagged(b"m", text(module.__name__) + text(_version(module.__name__)))


@register(MappingProxyType)
def _proxy_value(mapping: MappingProxyType[Any, Any], output_ref: bool) -> bytes:
    return tagged(b"p", part(dict(mapping), output_ref))


def _inner(value: Any) -> Any:
    """The function behind an app, or behind an object that a decorator made."""
    for name in ("__plait_function__", "__wrapped__"):
        try:
            inner = getattr(value, name, None)
        except Exception:  # noqa: BLE001, S112 - the object answers for itself
            continue
        if isinstance(inner, (FunctionType, BuiltinFunctionType, MethodType, functools.partial)):
            return inner
    return None


def _name(thing: Any) -> bytes:
    return text(str(getattr(thing, "__module__", ""))) + text(thing.__qualname__)


def _shown(func: Any) -> str:
    return f"{func.__module__}.{func.__qualname__}"


def _library_name(thing: Any) -> bytes:
    return tagged(b"L", _name(thing) + text(_version(str(getattr(thing, "__module__", "")))))


def _version(module_name: str) -> str:
    """The version that a library says it has. Python's own modules have Python's, which is in each key."""
    module = sys.modules.get(module_name.partition(".")[0])
    version = vars(module).get("__version__") if module is not None else None
    return version if isinstance(version, str) else ""


@functools.lru_cache(maxsize=1)
def _library_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    here = __file__.rpartition("dataflow")[0]
    return (here, *(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")))


def is_first_party(module_name: str | None) -> bool:
    """Whether a module is the user's own code, and no installed library, Python's or plait's."""
    module = sys.modules.get(module_name or "")
    if module is None:
        return True  # made by exec, or deleted since
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        origin = getattr(getattr(module, "__spec__", None), "origin", None)
        return origin not in {"built-in", "frozen"} and module is not builtins
    return not file.startswith(_library_folders()) and "site-packages" not in file and "dist-packages" not in file


# ------------------------------------------------------------------ byte code
def code_form(code: CodeType) -> bytes:
    """What byte code does, without what the layout of its source left in it."""
    flags = code.co_flags & ~0x4000000  # whether there is a docstring
    numbers = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, flags)
    names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    steps, place = _steps(code)
    body = [part(numbers), part(names), part(_handlers(code, place))]
    body += [text(name) + argument for name, argument in steps]
    return tagged(b"k", b"".join(body))


def _steps(code: CodeType) -> tuple[list[tuple[str, bytes]], dict[int, int]]:
    """(instruction, argument) of all that do something, and for each offset the number of the step that is run there."""
    kept: list[dis.Instruction] = []
    place: dict[int, int] = {}
    for step in dis.get_instructions(code):
        if step.opname == "STORE_NAME" and step.argval in _SOURCE_NOTES:
            kept.pop()  # what it stores
            place[step.offset] = len(kept)
            continue
        place[step.offset] = len(kept)
        if step.opname not in _NOTHING:
            kept.append(step)
    steps = []
    for step in kept:
        if step.opcode in _JUMPS:
            name, to = _thread(step, kept, place)
            steps.append((name, part(to)))
        else:
            steps.append((step.opname, _argument(step, code.co_consts)))
    return steps, place


def _thread(step: dis.Instruction, kept: list[dis.Instruction], place: dict[int, int]) -> tuple[str, int]:
    """(kind, number of the step) to which a jump leads in the end.

    Compilers shorten a jump to a jump only where both are of one source line; so it is shortened here.
    """
    name, to = _kind(step), place[step.argval]
    for _ in kept:  # an empty endless loop jumps to itself
        target = kept[to]
        if target.opcode not in _JUMPS:
            break
        following = _kind(target)
        if following == "JUMP" or (following == name and name.endswith("OR_POP")):
            to = place[target.argval]
        elif name.startswith("JUMP_IF") and following.removeprefix("POP_").startswith(
            "JUMP_IF"
        ):  # of `and` and `or`, before 3.12
            takes = ("TRUE" in name) == ("TRUE" in following)
            if takes and following.endswith("OR_POP"):
                to = place[target.argval]
            else:
                name = f"POP_{name.removesuffix('_OR_POP')}"
                to = place[target.argval] if takes else to + 1
        else:
            break
    return name, to


def _kind(jump: dis.Instruction) -> str:
    """The name of a jump without its direction."""
    name = jump.opname.replace("FORWARD_", "").replace("BACKWARD_", "")
    return "JUMP" if name in {"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_ABSOLUTE", "JUMP_NO_INTERRUPT"} else name


def _argument(step: dis.Instruction, constants: tuple[Any, ...]) -> bytes:
    if step.opcode in _CONSTANTS:  # by value: where it stands in the table depends on the docstring
        value = constants[step.arg or 0]
        return code_form(value) if isinstance(value, CodeType) else part(value)
    return part(step.arg)


def _handlers(code: CodeType, place: dict[int, int]) -> list[tuple[Any, ...]]:
    """The table of exception handlers, in numbers of steps. Before 3.11 the instructions say it."""
    parse = getattr(dis, "_parse_exception_table", None)
    if parse is None or not getattr(code, "co_exceptiontable", b""):
        return []
    end = max(place.values()) + 1
    found = [(place[e.start], place.get(e.end, end), place[e.target], e.depth, e.lasti) for e in parse(code)]
    return [handler for handler in found if handler[0] < handler[1]]


def _globals_of(code: CodeType) -> set[tuple[str, ...]]:
    """Global names that the code and the code inside it use, each with the attributes that follow it: ``("np", "linalg", "norm")``."""
    found: set[tuple[str, ...]] = set()
    path: tuple[str, ...] = ()
    for step in dis.get_instructions(code):
        if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"}:
            found.add(path)
            path = (step.argval,)
        elif path and step.opname in {"LOAD_ATTR", "LOAD_METHOD"}:
            path = (*path, step.argval)
        elif step.opname not in _NOTHING:
            found.add(path)
            path = ()
    found.add(path)
    for inner in _inner_codes(code):
        found |= _globals_of(inner)
    return found - {()}


def _inner_codes(code: CodeType) -> Iterator[CodeType]:
    return (constant for constant in code.co_consts if isinstance(constant, CodeType))
