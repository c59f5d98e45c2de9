"""From a document to objects: each table with a ``type`` is one, its other keys are the parameters of its constructor.

All mistakes of a document are gathered, each with its line, its path, the value and what was expected.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from plait.configfile.kinds import UnknownName, find_class, find_reference
from plait.configfile.signatures import MISSING, Expected, parameters
from plait.configfile.toml import Lines, parse, show
from plait.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from plait.configfile.toml import Path

#: The table of a document that is about it, and no parameter.
HEAD: Final = "site"
#: Stands for an object that could not be made; what was wrong has been noted.
_BROKEN: Final[Any] = object()
_ANYTHING: Final = Expected(frozenset({"any"}))
_COLLECTIONS: Final[dict[str, Callable[[list[Any]], Any]]] = {
    "tuple": tuple, "set": set, "frozenset": frozenset, "list": list, "dict": dict,
}  # fmt: skip
#: ``SlurmProvider(walltime='x'): expected …``, as constructors say it.
_REFUSAL: Final = re.compile(r"\w+\((\w+)=(.*?)\): (.*)", re.DOTALL)


class Reader:
    """Makes the objects of one document.

    Args:
        text: of the document.
        source: what to call it in messages.
        defaults: what administrators say for parameters that a document leaves out: from a class to names and values.
    """

    def __init__(self, text: str, source: str, defaults: Callable[[type], Mapping[str, Any]] | None = None) -> None:
        self.document = parse(text, source)
        self.source = source
        self._text = text
        self._defaults = defaults
        self._problems: list[tuple[Path, str]] = []
        self._made: dict[int, tuple[Path, Mapping[str, Any], Any]] = {}  # by identity, so kept

    # ------------------------------------------------------------------ the whole
    def read(self, cls: type, values: Mapping[str, Any] | None = None) -> Any:
        """The object of the document.

        Args:
            cls: its class.
            values: for every object of the document that has a parameter of this name.

        Raises:
            ConfigurationError: with all mistakes.
        """
        if values:
            self._fill(cls, values)
        for path in self.missing(cls):
            name = path[-1]
            self._note(
                path,
                f"must be given: the site cannot know it. Write it into the file, or give it as {name}=... with from_site() "
                f"or as --set {name}=... with `plait init`",
            )
        self.document.pop(HEAD, None)
        made = self._make((), self.document, cls)
        if self._problems:
            raise ConfigurationError(self._report())
        return made

    def _fill(self, cls: type, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            try:
                for path in self.places_of(name, cls):
                    self._at(path)[name] = value
            except UnknownName as error:
                self._note((name,), f"= {literal(value)}: {error}")

    def places_of(self, name: str, cls: type) -> list[Path]:
        """Where a parameter can stand: the paths of all tables whose objects have one of this name.

        Raises:
            UnknownName: nowhere.
        """
        tables = self._tables(cls)
        found = [path for path, _, each in tables if name in parameters(each)]
        if not found:
            every = sorted({known for _, _, each in tables for known in parameters(each)})
            raise UnknownName(f"nothing in {self.source} has such a parameter{_near(name, every)}")
        return found

    def expected_at(self, path: Path, name: str, cls: type) -> Expected:
        """What a parameter of the object in one of these places may be."""
        return next(parameters(each)[name].expected for where, _, each in self._tables(cls) if where == path)

    def missing(self, cls: type) -> list[Path]:
        """What the head says that users must give, and they have not."""
        head = self.document.get(HEAD)
        needs = head.get("needs", []) if isinstance(head, dict) else []
        return [
            (*path, name)
            for name in needs
            for path, table, each in self._tables(cls)
            if name in parameters(each) and table.get(name) in (None, "")
        ]

    def _at(self, path: Path) -> Any:
        found: Any = self.document
        for step in path:
            found = found[step]
        return found

    def _tables(self, cls: type) -> list[tuple[Path, dict[str, Any], type]]:
        """All tables that will be objects, with their classes; those whose class is not known are left out."""
        found: list[tuple[Path, dict[str, Any], type]] = [((), self.document, cls)]

        def walk(path: Path, value: Any) -> None:
            items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            if isinstance(value, dict) and isinstance(value.get("type"), str) and path:
                try:
                    found.append((path, value, find_class(value["type"])))
                except UnknownName:
                    pass  # said when the object is made
            for key, inner in items:
                walk((*path, key), inner)

        walk((), self.document)
        return found

    # ------------------------------------------------------------------ mistakes
    def _note(self, path: Path, text: str) -> None:
        self._problems.append((path, text))

    def _report(self) -> str:
        lines = Lines(self._text)
        said = []
        for path, text in self._problems:
            line = lines.find(path)
            where = show(path)
            said.append((line, f"{where}{'' if text.startswith((':', ' ')) or not where else ' '}{text}"))
        said.sort(key=lambda each: each[0])
        if len(said) == 1:
            line, text = said[0]
            return f"{self.source}{f', line {line}' if line else ''}: {text}"
        return f"{self.source} has {len(said)} mistakes" + "".join(
            f"\n  {f'line {line}: ' if line else ''}{text}" for line, text in said
        )

    # ------------------------------------------------------------------ objects
    def _make(self, path: Path, table: Mapping[str, Any], cls: type) -> Any:
        known = parameters(cls)
        before = len(self._problems)
        given: dict[str, Any] = {}
        for name, raw in table.items():
            if name == "type" and path:
                continue
            if name not in known:
                self._note((*path, name), f": there is no such parameter of {cls.__name__}{_near(name, known)}")
                continue
            given[name] = self._value((*path, name), raw, known[name].expected)
        for name, value in (self._defaults(cls) if self._defaults is not None else {}).items():
            if name in known and name not in table:
                given[name] = self._value((*path, name), value, known[name].expected)
        for name, parameter in known.items():
            if parameter.default is MISSING and name not in given:
                self._note((*path, name), f"must be given: {cls.__name__} cannot do without it")
        if len(self._problems) > before or any(value is _BROKEN for value in given.values()):
            return _BROKEN
        return self._call(path, table, cls, given)

    def _call(self, path: Path, table: Mapping[str, Any], cls: type, given: dict[str, Any]) -> Any:
        first = [given.pop(name) for name, p in parameters(cls).items() if p.positional and name in given]
        try:
            made = cls(*first, **given)
            self._made[id(made)] = (path, table, made)
            return made
        except Exception as error:  # noqa: BLE001 - whatever a class, which may be anybody's, says about its parameters
            text = str(error) or type(error).__name__
            where, name = getattr(error, "about", (0, ""))  # of an object that was made, forbidden by a rule
            if where in self._made and name in self._made[where][1]:
                path, table, _ = self._made[where]
                self._note((*path, name), f"= {literal(table[name])}: {error.why}")  # type: ignore[attr-defined]
                return _BROKEN
            match = _REFUSAL.fullmatch(text)
            if match is not None and match[1] in table and not re.search(r", \w+=", match[2]):
                self._note((*path, match[1]), f"= {literal(table[match[1]])}: {match[3]}")
            else:
                self._note(path, f": {text}" if path else text)
            return _BROKEN

    def _object(self, path: Path, table: dict[str, Any], want: Expected) -> Any:
        name = table["type"]
        if name == "None":
            return None
        if name in _COLLECTIONS and set(table) == {"type", "items"} and isinstance(table["items"], list):
            items = [self._value((*path, "items", n), each, _ANYTHING) for n, each in enumerate(table["items"])]
            return _BROKEN if any(each is _BROKEN for each in items) else _COLLECTIONS[name](items)
        if not isinstance(name, str):
            self._note((*path, "type"), f"= {literal(name)}: expected the name of a class")
            return _BROKEN
        try:
            cls = find_class(name)
        except UnknownName as error:
            self._note((*path, "type"), f": {error}")
            return _BROKEN
        if want.port is not None and not issubclass(cls, want.port):
            self._note((*path, "type"), f"= {literal(name)}: expected {want}")
            return _BROKEN
        return self._make(path, table, cls)

    # ------------------------------------------------------------------ values
    def _value(self, path: Path, raw: Any, want: Expected) -> Any:
        if isinstance(raw, dict):
            return self._table(path, raw, want)
        if isinstance(raw, list):
            return self._list(path, raw, want)
        if not _is_plain(raw):
            return raw  # an object that a program gave
        if not want.takes(raw):
            self._note(path, f"= {literal(raw)}: expected {want}")
            return _BROKEN
        if isinstance(raw, str) and not want.anything and "str" not in want.kinds and raw not in want.choices:
            return self._reference(path, raw)
        return raw

    def _reference(self, path: Path, text: Any) -> Any:
        try:
            return find_reference(text)
        except UnknownName as error:
            self._note(path, f"= {literal(text)}: {error}")
            return _BROKEN

    def _table(self, path: Path, raw: dict[str, Any], want: Expected) -> Any:
        if set(raw) == {"reference"} and isinstance(raw["reference"], str):
            return self._reference((*path, "reference"), raw["reference"])
        if "type" in raw:
            return self._object(path, raw, want)
        if not (want.anything or "dict" in want.kinds):
            self._note(path, f": expected {want}")
            return _BROKEN
        made = {key: self._value((*path, key), value, want.inner or _ANYTHING) for key, value in raw.items()}
        return _BROKEN if any(value is _BROKEN for value in made.values()) else made

    def _list(self, path: Path, raw: list[Any], want: Expected) -> Any:
        if not (want.anything or want.kinds & {"list", "tuple", "set", "frozenset"}):
            self._note(path, f"= {literal(raw)}: expected {want}")
            return _BROKEN
        made = [self._value((*path, number), each, want.inner or _ANYTHING) for number, each in enumerate(raw)]
        if any(each is _BROKEN for each in made):
            return _BROKEN
        if want.anything or "list" in want.kinds:
            return made
        return _COLLECTIONS[next(kind for kind in ("tuple", "frozenset", "set") if kind in want.kinds)](made)


def _is_plain(value: Any) -> bool:
    import datetime as dt

    return value is None or isinstance(value, (str, int, float, dt.date, dt.time))


def _near(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), 1, 0.6)
    return f"; did you mean {close[0]}?" if close else f"; it has {', '.join(known)}"


def literal(value: Any) -> str:
    """A value as it would stand in a file, for messages."""
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, (list, tuple)):
        text = f"[{', '.join(map(literal, value))}]"
    elif isinstance(value, Mapping):
        text = f"{{ {', '.join(f'{key} = {literal(each)}' for key, each in value.items())} }}"
    else:
        text = repr(value)
    return text if len(text) <= 200 else text[:199] + "…"
