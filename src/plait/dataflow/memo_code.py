"""Functions as bytes that change when what they do changes.

The key of a function is made of its byte code (without what comments, formatting and line numbers leave in it), its defaults, its attributes,
the values that it closes over, and the globals that it names: plain values as they are, functions and classes of the user's own code by *their* code,
and so on from there. Libraries count by name and version. Docstrings and annotations do not count.

Not seen: what a function imports while it runs, names that it computes, and the inside of globals of types that `id_for_memo` does not know
(a logger, a connection): of these the type counts.

Functions may refer to each other in circles, and two may have the same name (closures made by one function).
So each gets a colour: at first its name, then, in rounds, the digest of all its parts with the colours of the functions that it refers to,
until a round tells no more functions apart. No recursion from function to function, and no order of visits in the result.
"""

from __future__ import annotations

import builtins
import functools
import sys
import sysconfig
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from plait._util.identity import identity_of
from plait.dataflow.memo_bytecode import SOURCE_NOTES, assigned_by, code_form, globals_of
from plait.dataflow.memo_id import UnknownTypeForMemo, part, register, stand_in, tagged, text, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: Functions whose key is remembered.
_REMEMBERED: Final = 4096
_MISSING: Final = object()
#: Of a class's attributes, those that say nothing about what it does.
_CLASS_NOTES: Final = SOURCE_NOTES | {
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
    remembered = _remembered[_lasting.get()]
    identity = identity_of(func)
    known = remembered.get(identity)
    if known is None or not known.is_current():
        if len(remembered) >= _REMEMBERED:
            remembered.clear()
        known = remembered[identity] = CodeKey(func)
    return known.key


@contextmanager
def lasting_keys() -> Iterator[None]:
    """Within it a function keeps its key whatever it does: for programs whose functions were known by their names only.

    What can change in place, and attributes of classes, count as they were when the key was first made; names that the function assigns
    do not count; values of unknown types count by their types wherever they stand.
    """
    token = _lasting.set(True)
    try:
        yield
    finally:
        _lasting.reset(token)


class CodeKey:
    """A key with what it was made from, so that a change is noticed.

    Attributes:
        key: 32 bytes.
    """

    __slots__ = ("_cells", "_contents", "_func", "_functions", "_is_lasting", "_names", "_nodes", "key")

    def __init__(self, func: Callable[..., Any]) -> None:
        self._func = func  # it may be known by its number, which is its own while it is kept
        walk = _Walk()
        self.key = walk.run(func)
        self._functions = [
            (f, f.__code__, f.__defaults__, f.__kwdefaults__, bool(f.__dict__))
            for f in walk.nodes.values()
            if isinstance(f, FunctionType)
        ]
        self._nodes = list(walk.nodes.values())  # whose numbers stay their own
        self._names = list(walk.used)
        self._cells = list(walk.cells)
        self._is_lasting = walk.lasting
        changing = [] if walk.lasting else [value for value in walk.values if not _is_fixed(value)]
        self._contents = [(value, _contents(value)) for value in changing]

    def is_current(self) -> bool:
        """Whether everything that the key was made from is still the same."""
        for func, code, defaults, kwdefaults, has_more in self._functions:
            if func.__code__ is not code or func.__defaults__ is not defaults or func.__kwdefaults__ is not kwdefaults:
                return False
            if bool(func.__dict__) is not has_more and not self._is_lasting:
                return False
        for space, name, value in self._names:
            if space.get(name, _MISSING) is not value:
                return False
        for cell, content in self._cells:
            if _content(cell) is not content:
                return False
        return all(_contents(value) == before for value, before in self._contents)


def _is_fixed(value: Any) -> bool:
    """Whether the value can never change in place, what it refers to being watched by itself."""
    if type(value) in (tuple, frozenset):
        return all(map(_is_fixed, value))
    return isinstance(value, _FIXED)


_remembered: dict[bool, dict[Any, CodeKey]] = {False: {}, True: {}}  # by whether they are lasting
_lasting: ContextVar[bool] = ContextVar("lasting", default=False)
_walk: ContextVar[_Walk | None] = ContextVar("walk", default=None)


def _contents(value: Any) -> bytes:
    """Bytes of a value that can change in place; functions in it count as the objects that they are, since each is watched by itself."""
    walk = _Walk()
    walk.by_identity = True
    with walk:
        return walk.value(value, lenient=True)


# ------------------------------------------------------------------ the walk
class _Walk:
    """One reading of a function and of all that it refers to.

    Attributes:
        nodes: functions and classes found, by identity.
        used: (names, name, value): what was looked up.
        cells: (cell, content): what functions close over.
        values: what was turned into bytes.
        lasting: whether the key is to be one of `lasting_keys`.
        by_identity: whether functions and classes count as the objects that they are.
    """

    def __init__(self) -> None:
        self.by_identity = False
        self.lasting = _lasting.get()
        self.nodes: dict[int, Any] = {}
        self.used: list[tuple[Mapping[str, Any], str, Any]] = []
        self.cells: list[tuple[CellType, Any]] = []
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
        start = (type(func), func)  # of an object that can be called, the class has the code
        with self:
            self.value(start, lenient=False)  # finds the first nodes; they find the others
            distinct = 0
            while True:
                self.used.clear()
                self.cells.clear()
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
            root = self.value(start, lenient=False)
        version = sys.implementation.cache_tag or sys.version
        body = b"".join((text(version), root, *sorted(set(colours.values()))))
        return blake2b(body, digest_size=32, person=b"plait.memo.code").digest()

    def value(self, value: Any, *, lenient: bool) -> bytes:
        """Bytes of a value that a function refers to."""
        self.values.append(value)
        token = stand_in.set(self._unknown if lenient or self.lasting else self._refuse)
        try:
            return part(value)
        finally:
            stand_in.reset(token)

    def refer(self, node: Any) -> bytes:
        """A function or class of the user's code: its colour. It is described when its turn comes."""
        if id(node) not in self.nodes:
            self.nodes[id(node)] = node
            if stand_in.get() == self._refuse:
                self._strict.add(id(node))
        return tagged(b"R", text(str(id(node))) if self.by_identity else self._colours.get(id(node)) or _name(node))

    def _refuse(self, value: Any) -> bytes:
        """An app, or a function in another's coat, stands for that function; no other value of unknown type stands for anything."""
        inner = _inner(value)
        if inner is None:
            raise UnknownTypeForMemo(type_name(type(value)))
        return tagged(b"W", text(type_name(type(value))) + part(inner))

    def _unknown(self, value: Any) -> bytes:
        """The same, but a value that stands for something outside, such as a logger, counts by its type."""
        return tagged(b"X", part(type(value))) if _inner(value) is None else self._refuse(value)

    def _describe(self, identity: int, node: Any) -> bytes:
        if isinstance(node, type):
            return self._class(node)
        return self._function(node, lenient=identity not in self._strict)

    def _function(self, func: FunctionType, *, lenient: bool) -> bytes:
        pieces = [_name(func), self._code(func.__code__)]
        # What a decorator keeps for itself is its own affair, if it says which function it stands before.
        is_coat = hasattr(func, "__wrapped__")
        names = func.__code__.co_freevars
        own = assigned_by(func.__code__) if self.lasting else frozenset()
        for name, cell in zip(names, func.__closure__ or (), strict=True):
            if name in own:
                continue
            content = _content(cell)
            self.cells.append((cell, content))
            same_wrapped = is_coat and content is func.__wrapped__  # type: ignore[attr-defined]
            with _naming(f"{_shown(func)}, closure variable {name}"):
                pieces.append(self.value(content, lenient=lenient or (is_coat and not same_wrapped)))
        with _naming(f"{_shown(func)}, default values"):
            pieces.append(self.value(func.__defaults__, lenient=lenient))
            keywords = func.__kwdefaults__ or {}
            pieces.extend(
                text(name) + self.value(self._look_up(keywords, name), lenient=lenient) for name in sorted(keywords)
            )
        if func.__dict__:  # its attributes; of functions for single dispatch they have the registry
            pieces.append(self.value(func.__dict__, lenient=True))
        pieces += [
            text(".".join(path)) + self._global(func.__globals__, path)
            for path in sorted(globals_of(func.__code__))
            if path[0] not in own
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
            value = space.get(name) if self.lasting else self._look_up(space, name)
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
        return tagged(b"K", _key_of_argument(func))
    return walk.refer(func) if is_first_party(func.__module__) else _library_name(func)


def _key_of_argument(func: Callable[..., Any]) -> bytes:
    try:
        return code_key(func)
    except UnknownTypeForMemo as error:
        raise error.under(": ") from None


@register(type)
def _class_value(cls: type, output_ref: bool) -> bytes:  # noqa: ARG001
    walk = _walk.get()
    if walk is None:
        return tagged(b"K", _key_of_argument(cls))
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


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


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
