"""Values as bytes that say which value it is: what the keys of memoized calls are made of.

Each value is a tag for its type, the length of its body, and the body (its digest when it is long).
So no two values of different types, and no two groupings of the same parts, give the same bytes.

Equal values give equal bytes in every process: nothing depends on the order of a set or on ``PYTHONHASHSEED``.
"""

from __future__ import annotations

import dataclasses
import enum
import struct
from collections import OrderedDict
from contextvars import ContextVar
from functools import singledispatch
from hashlib import blake2b
from pathlib import PurePath
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any, Final

from plait.model.files import File

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Bytes of a body above which its digest stands for it.
_LONG: Final = 256
_DIGEST_SIZE: Final = 32
_head = struct.Struct(">cQ").pack

#: What stands for a value of unknown type; None to refuse it. Set while the surroundings of a function are read (`memo_code`).
stand_in: ContextVar[Callable[[Any], bytes] | None] = ContextVar("stand_in", default=None)


class UnknownTypeForMemo(ValueError):
    """A value is of a type of which plait does not know when two values are the same.

    Attributes:
        kind: the type, as ``module.Class``.
        path: where the value stands: ``argument 0['model'][3]``.
    """

    def __init__(self, kind: str, path: str = "") -> None:
        super().__init__(kind, path)
        self.kind = kind
        self.path = path

    def under(self, step: str) -> UnknownTypeForMemo:
        """The same, seen from one container further out."""
        return UnknownTypeForMemo(self.kind, step + self.path)

    def __str__(self) -> str:
        return (
            f"unknown type for memoization: {self.kind}{f' in {self.path}' if self.path else ''}. "
            f"Say what makes two of them equal with @id_for_memo.register({self.kind.rpartition('.')[2]}), "
            "or leave the argument out of the key with ignore_for_cache."
        )


@singledispatch
def id_for_memo(obj: Any, output_ref: bool = False) -> bytes:
    """Bytes that are equal for equal values, and differ for others.

    Register a function of the same parameters for a type of your own: ``@id_for_memo.register(Sample)``.

    Args:
        obj: the value.
        output_ref: whether it names something that the call will make, such as a file: then its name counts, not what it holds now.

    Raises:
        UnknownTypeForMemo: a ValueError that names the type, and where in ``obj`` the value stands.
    """
    if isinstance(obj, enum.Enum):
        return _enum(obj)
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        return _dataclass(obj, output_ref)
    replace = stand_in.get()
    if replace is None:
        raise UnknownTypeForMemo(type_name(type(obj)))
    return replace(obj)


# ------------------------------------------------------------------ bytes
def tagged(tag: bytes, body: bytes) -> bytes:
    """One value: tag (one byte), length, body. The length tells whether the body stands there or its digest."""
    size = len(body)
    if size > _LONG:
        body = blake2b(body, digest_size=_DIGEST_SIZE, person=b"plait.memo.part").digest()
    return _head(tag, size) + body


def text(value: str) -> bytes:
    """A string as one value."""
    return tagged(b"s", value.encode("utf-8", "surrogatepass"))


def type_name(cls: type) -> str:
    """``module.Class``."""
    return f"{cls.__module__}.{cls.__qualname__}"


def part(obj: Any, output_ref: bool = False) -> bytes:
    """A value inside another: bytes that show where they end, whoever made them."""
    function = id_for_memo.dispatch(type(obj))
    data = function(obj, output_ref=output_ref)
    if function in _own:
        return data
    if not isinstance(data, bytes):
        raise TypeError(
            f"the function registered with id_for_memo for {type_name(type(obj))} returned {type(data).__name__}, not bytes"
        )
    return tagged(b"U", text(type_name(type(obj))) + data)


def parts(values: Iterable[Any], output_ref: bool) -> list[bytes]:
    """Each of some values in order; an error names the place of the value."""
    found: list[bytes] = []
    try:
        for value in values:
            found.append(part(value, output_ref))  # noqa: PERF401 - its length is the place
    except UnknownTypeForMemo as error:
        raise error.under(f"[{len(found)}]") from None
    except RecursionError:
        raise ValueError(
            "a value for memoization is nested too deeply, or holds itself; name its keyword in ignore_for_cache"
        ) from None
    return found


# ------------------------------------------------------------------ the types that are known
def register(cls: type) -> Callable[[Any], Any]:
    """Registers what makes the bytes of exactly this class; a subclass adds its name and its attributes."""

    def decorate(body: Callable[[Any, bool], bytes]) -> Callable[[Any, bool], bytes]:
        def known(obj: Any, output_ref: bool = False) -> bytes:
            if type(obj) is cls:
                return body(obj, output_ref)
            return _derived(obj, cls, body, output_ref)

        id_for_memo.register(cls, known)
        _own.add(known)
        return body

    return decorate


_own: set[Any] = {id_for_memo.dispatch(object)}


def _derived(obj: Any, cls: type, body: Callable[[Any, bool], bytes], output_ref: bool) -> bytes:
    if isinstance(obj, enum.Enum):
        return _enum(obj)
    attributes = b""
    if isinstance(obj, type):
        pass  # of an abstract class, say: `body` has read what it holds
    elif dataclasses.is_dataclass(obj):
        attributes = _dataclass(obj, output_ref)
    elif own := _attributes(obj, cls):
        attributes = part(own, output_ref)
    return tagged(b"D", text(type_name(type(obj))) + body(obj, output_ref) + attributes)


def _attributes(obj: Any, cls: type) -> dict[str, Any]:
    """What an object has beside what makes it a ``cls``: attributes, slots, and such as the factory of a `defaultdict`."""
    found = dict(getattr(obj, "__dict__", None) or {})
    for base in type(obj).__mro__:
        if base is cls:
            break
        for name, value in vars(base).items():
            if isinstance(value, MemberDescriptorType) and hasattr(obj, name):
                found[name] = getattr(obj, name)
    return found


def _enum(obj: enum.Enum) -> bytes:
    # A combination of flags may have no name; a member that changes its value is another member.
    return tagged(b"E", text(type_name(type(obj))) + text(obj.name or "") + part(obj.value))


def _dataclass(obj: Any, output_ref: bool) -> bytes:
    body = text(type_name(type(obj)))
    for field in dataclasses.fields(obj):
        try:
            body += text(field.name) + part(getattr(obj, field.name, None), output_ref)
        except UnknownTypeForMemo as error:
            raise error.under(f".{field.name}") from None
    return tagged(b"C", body)


@register(type(None))
def _none(obj: None, output_ref: bool) -> bytes:  # noqa: ARG001
    return b"N"


@register(bool)
def _bool(obj: bool, output_ref: bool) -> bytes:  # noqa: ARG001
    return b"T" if obj else b"F"


@register(int)
def _int(obj: int, output_ref: bool) -> bytes:  # noqa: ARG001
    # Not as decimal digits: turning a long number into text takes long, and Python refuses it.
    value = int(obj)
    return tagged(b"i", value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


@register(float)
def _float(obj: float, output_ref: bool) -> bytes:  # noqa: ARG001
    return b"f" + struct.pack(">d", obj)


@register(complex)
def _complex(obj: complex, output_ref: bool) -> bytes:  # noqa: ARG001
    return b"c" + struct.pack(">dd", obj.real, obj.imag)


@register(str)
def _str(obj: str, output_ref: bool) -> bytes:  # noqa: ARG001
    return text(obj)


@register(bytes)
def _bytes(obj: bytes, output_ref: bool) -> bytes:  # noqa: ARG001
    return tagged(b"b", obj)


@register(bytearray)
def _bytearray(obj: bytearray, output_ref: bool) -> bytes:  # noqa: ARG001
    return tagged(b"a", bytes(obj))


@register(type(Ellipsis))
def _ellipsis(obj: Any, output_ref: bool) -> bytes:  # noqa: ARG001
    return b"."


@register(range)
def _range(obj: range, output_ref: bool) -> bytes:
    return tagged(b"r", b"".join(parts((obj.start, obj.stop, obj.step), output_ref)))


@register(slice)
def _slice(obj: slice, output_ref: bool) -> bytes:
    return tagged(b"z", b"".join(parts((obj.start, obj.stop, obj.step), output_ref)))


@register(list)
def _list(obj: list[Any], output_ref: bool) -> bytes:
    return tagged(b"l", b"".join(parts(obj, output_ref)))


@register(tuple)
def _tuple(obj: tuple[Any, ...], output_ref: bool) -> bytes:
    return tagged(b"t", b"".join(parts(obj, output_ref)))


@register(set)
def _set(obj: set[Any], output_ref: bool) -> bytes:
    return tagged(b"S", _members(obj, output_ref))


@register(frozenset)
def _frozenset(obj: frozenset[Any], output_ref: bool) -> bytes:
    return tagged(b"Z", _members(obj, output_ref))


def _members(obj: Iterable[Any], output_ref: bool) -> bytes:
    try:
        return b"".join(sorted(parts(list(obj), output_ref)))  # in one step: a task in another thread may add to it
    except UnknownTypeForMemo as error:
        inner = error.path.partition("]")[2]  # a set has no places
        raise UnknownTypeForMemo(error.kind, "{…}" + inner) from None


@register(dict)
def _dict(obj: dict[Any, Any], output_ref: bool) -> bytes:
    return tagged(b"d", b"".join(sorted(_items(obj, output_ref))))


@register(OrderedDict)
def _ordered_dict(obj: OrderedDict[Any, Any], output_ref: bool) -> bytes:
    return tagged(b"o", b"".join(_items(obj, output_ref)))


def _items(obj: dict[Any, Any], output_ref: bool) -> list[bytes]:
    items: list[bytes] = []
    step = ""
    try:
        for key, value in list(obj.items()):  # likewise
            step = " key "
            name = part(key, output_ref)
            step = f"[{key!r}]"
            items.append(name + part(value, output_ref))
    except UnknownTypeForMemo as error:
        raise error.under(step) from None
    except RecursionError:
        raise ValueError(
            "a value for memoization is nested too deeply, or holds itself; name its keyword in ignore_for_cache"
        ) from None
    return items


def _path(obj: PurePath, output_ref: bool = False) -> bytes:  # noqa: ARG001
    # Not the class's module: it moved between versions of Python. Not `_derived`: nobody makes a PurePath itself.
    return tagged(b"P", text(type(obj).__qualname__) + text(str(obj)))


def _file(obj: File, output_ref: bool = False) -> bytes:
    if not output_ref:
        raise UnknownTypeForMemo(type_name(type(obj)))
    return tagged(b"O", text(obj.url))


for _cls, _function in ((PurePath, _path), (File, _file)):
    id_for_memo.register(_cls, _function)
    _own.add(_function)
