"""From objects to a document that gives the same objects again.

What an object was given is in its attributes, under the names of its constructor's parameters; where the constructor made something of
it (the number of cores of this machine, where nothing was said), in what `plait._util.given` remembers. Whether a file would
give the same is not reasoned about but tried.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from typing import Any, Final

from plait._util.given import given_to
from plait.configfile.kinds import UnknownName, name_of_class, reference_to
from plait.configfile.reading import Reader
from plait.configfile.signatures import MISSING, PORTS, Expected, parameters
from plait.configfile.toml import Path, show
from plait.errors import ConfigurationError

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
#: Quotes that would be taken for the end of a text, or be lost in it.
_QUOTES: Final = re.compile(r'"{3,}|"+\Z')
_ANYTHING: Final = Expected(frozenset({"any"}))
_NOTHING: Final[Any] = object()


class CannotWrite(ConfigurationError):
    """A value cannot stand in a file."""


def to_text(thing: Any, *, defaults: bool = False) -> str:
    """The document of an object.

    Args:
        thing: the object.
        defaults: whether to write parameters that have their default too.

    Raises:
        CannotWrite: a value cannot stand in a file, with its path.
    """
    table = plain(thing, (), defaults=defaults)
    table.pop("type")
    lines: list[str] = []
    _emit(lines, (), table)
    return "\n".join(lines).strip("\n") + "\n"


# ------------------------------------------------------------------ objects to plain values
def plain(thing: Any, path: Path = (), *, defaults: bool = False) -> dict[str, Any]:
    """The table of an object: ``type`` and parameters.

    Raises:
        CannotWrite: a value cannot stand in a file, with its path.
    """
    cls = type(thing)
    try:
        table: dict[str, Any] = {"type": name_of_class(cls) if path else cls.__name__}
    except UnknownName as error:
        raise CannotWrite(f"{show(path)}: {error}") from None
    known = parameters(cls)
    if not known and not _is_like_new(thing):
        raise CannotWrite(
            f"{show(path)}: nothing says what {cls.__name__} takes, so a file cannot be made of it; give text, numbers, lists or tables instead"
        )
    values = {name: _of(thing, name, path) for name in known}
    for name, value in values.items():
        if value is not _NOTHING:
            table[name] = _encode(value, (*path, name), known[name].expected, defaults=defaults)
        elif defaults and (default := _default(thing, name)) is not _NOTHING:
            table[name] = _encode(default, (*path, name), known[name].expected, defaults=True)
    for name in _not_the_same(thing, table):
        if name in table:
            table[name] = _encode(values[name], (*path, name), _ANYTHING)
    return table


def _is_like_new(thing: Any) -> bool:
    """Whether a class of which no parameters are known makes the same again without any: most that are written in C have some."""
    try:
        fresh = type(thing)()
    except Exception:  # noqa: BLE001 - anybody's class
        return False
    return getattr(type(thing), "__eq__", None) is object.__eq__ or bool(fresh == thing)


def _default(thing: Any, name: str) -> Any:
    """What stands for a parameter that was left out: its default, or the object that the constructor put there."""
    value, default = _attribute(thing, name), parameters(type(thing))[name].default
    each = value[0] if isinstance(value, (list, tuple)) and value else value
    if default is None and isinstance(each, tuple(PORTS.values())):
        return value
    return _NOTHING if default is None or default is MISSING else default


def _not_the_same(thing: Any, table: Mapping[str, Any]) -> list[str]:
    """Parameters that come back otherwise, such as a list where a tuple was; then their type must be written."""
    try:
        again = read_table(table, type(thing))
    except ConfigurationError:
        return []  # it cannot be made here and now, such as with an address of another machine
    return [name for name in parameters(type(thing)) if not _same(_attribute(thing, name), _attribute(again, name))]


def read_table(table: Mapping[str, Any], cls: type) -> Any:
    """The object of a table.

    Raises:
        ConfigurationError: it cannot be made.
    """
    reader = Reader("", "")
    reader.document = {key: value for key, value in table.items() if key != "type"}
    return reader.read(cls)


def _of(thing: Any, name: str, path: Path) -> Any:
    """What a parameter must be given so that the object comes out the same; `_NOTHING` for nothing."""
    parameter = parameters(type(thing))[name]
    value = _attribute(thing, name)
    given = given_to(thing)
    if given is None:
        if value is MISSING:
            if parameter.default is not MISSING:
                raise CannotWrite(
                    f"{show((*path, name))}: {type(thing).__name__} does not keep this parameter as an attribute, so a file cannot be made of it"
                )
            raise CannotWrite(f"{show((*path, name))}: it must be given, but {type(thing).__name__} does not keep it")
        return _NOTHING if _same(value, parameter.default) else value
    said = given.get(name, MISSING)
    if value is MISSING or (said is not MISSING and _same(value, said)):
        return _NOTHING if said is MISSING or _same(said, parameter.default) else said
    if said is MISSING and _same(value, parameter.default):
        return _NOTHING
    # The constructor made something else of it, or somebody changed it since.
    if _same(value, _attribute(_fresh(thing, given), name)):
        return _NOTHING if said is MISSING or _same(said, parameter.default) else said
    return value


def _fresh(thing: Any, given: Mapping[str, Any]) -> Any:
    try:
        return type(thing)(**given)
    except Exception:  # noqa: BLE001 - anybody's class: then nothing is known of what it makes of its parameters
        return None


def _attribute(thing: Any, name: str) -> Any:
    value = getattr(thing, name, MISSING)
    return getattr(thing, f"_{name}", MISSING) if value is MISSING else value


def alike(one: Any, other: Any) -> bool:
    """Whether two objects of one class were made by the same parameters, all the way down."""
    return type(one) is type(other) and all(
        _same(_attribute(one, name), _attribute(other, name)) for name in parameters(type(one))
    )


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    if getattr(type(one), "__eq__", None) is not object.__eq__:
        return bool(one == other)
    return alike(one, other)


def _encode(value: Any, path: Path, want: Expected, *, defaults: bool = False) -> Any:
    if isinstance(value, (bool, int, float, str)) and type(value) in {bool, int, float, str}:
        return _encode_scalar(value, path, want)
    if value is None:
        return {"type": "None"}
    if isinstance(value, os.PathLike) and not want.anything and "str" in want.kinds:
        return _encode(os.fspath(value), path, want)
    if type(value) in {list, tuple, set, frozenset}:
        return _encode_items(value, path, want, defaults=defaults)
    if type(value) is dict:
        return _encode_dict(value, path, want)
    if callable(value) and (isinstance(value, type) or not _is_made(value)):
        text = _name(value, path)
        return text if not want.anything and "str" not in want.kinds else {"reference": text}
    try:
        return {"reference": _name(value, path)}
    except CannotWrite:
        return plain(value, path, defaults=defaults)


def _is_made(value: Any) -> bool:
    """Whether it is an object of a class that was written for its parameters, not a function or the like."""
    return not hasattr(value, "__qualname__")


def _encode_scalar(value: Any, path: Path, want: Expected) -> Any:
    if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
        raise CannotWrite(f"{show(path)}: {value!r} is no text that a file could hold")
    by_reference = isinstance(value, str) and not want.anything and not want.kinds & {"str"} and ":" in value
    if by_reference and value not in want.choices:
        raise CannotWrite(f"{show(path)}: the text {value!r} would be taken for the name of a function")
    return value


def _encode_items(value: Any, path: Path, want: Expected, *, defaults: bool) -> Any:
    ordered = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
    inner = want.inner or _ANYTHING
    items = [_encode(each, (*path, number), inner, defaults=defaults) for number, each in enumerate(ordered)]
    kind = type(value).__name__
    return {"type": kind, "items": items} if want.anything and kind != "list" else items


def _encode_dict(value: dict[Any, Any], path: Path, want: Expected) -> Any:
    if all(isinstance(key, str) for key in value) and not {"type", "reference"} & set(value):
        return {key: _encode(each, (*path, key), want.inner or _ANYTHING) for key, each in value.items()}
    pairs = [[key, each] for key, each in value.items()]
    return {"type": "dict", "items": [_encode(pair, path, _ANYTHING) for pair in pairs]}


def _name(value: Any, path: Path) -> str:
    try:
        return reference_to(value)
    except UnknownName as error:
        raise CannotWrite(f"{show(path)}: {error}") from None


# ------------------------------------------------------------------ plain values to text
def _emit(lines: list[str], path: tuple[str, ...], table: Mapping[str, Any]) -> None:
    later: list[tuple[str, Any]] = []
    for key, value in table.items():
        if _is_section(value) or _are_sections(value):
            later.append((key, value))
        else:
            lines.append(f"{_key(key)} = {inline(value)}")
    for key, value in later:
        where = (*path, key)
        name = ".".join(map(_key, where))
        for each in value if isinstance(value, list) else [value]:
            lines.extend(["", f"[[{name}]]" if isinstance(value, list) else f"[{name}]"])
            _emit(lines, where, each)


def _is_section(value: Any) -> bool:
    """Whether a value is better read as a section than on one line."""
    return isinstance(value, Mapping) and ("type" in value or len(value) > 4) and not set(value) <= {"type", "items"}


def _are_sections(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) and "type" in each for each in value)
    )


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def inline(value: Any) -> str:
    """A plain value on one line; text with more lines on as many."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _long(value) if "\n" in value.strip("\n") else _string(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_flat, value))}]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_flat(each)}" for key, each in value.items()) + " }" if value else "{}"
    return str(value)


def _flat(value: Any) -> str:
    return _string(value) if isinstance(value, str) else inline(value)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _long(text: str) -> str:
    plainly = "\n".join(_string(line)[1:-1].replace('\\"', '"') for line in text.split("\n"))
    return '"""\n' + _QUOTES.sub(lambda run: '\\"' * len(run[0]), plainly) + '"""'
