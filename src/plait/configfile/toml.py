"""TOML: text to plain values, and the line on which each of them stands."""

from __future__ import annotations

import importlib
import os
import re
from typing import Any, Final

from plait.errors import ConfigurationError

#: Where a value stands: keys of tables, and numbers in lists.
Path = tuple["str | int", ...]

_SPACE: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR: Final = re.compile(r"[^,\]}#\n]+")
#: The four kinds of text: with three double quotes, three single ones, one double, one single.
_STRING: Final = re.compile(r'''"""(?:[^\\]|\\.)*?"{3,5}|\'{3}.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'''', re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)


def parse(text: str, source: str) -> dict[str, Any]:
    """The values of a document, as plain dictionaries, lists, text, numbers and dates.

    Args:
        text: of the document.
        source: what to call it in messages.

    Raises:
        ConfigurationError: it is no TOML, with the line.
    """
    try:
        tomllib = importlib.import_module("tomllib")
    except ImportError:
        return _parse_slowly(text, source)
    try:
        return dict(tomllib.loads(text))
    except ValueError as error:
        raise ConfigurationError(f"{source}: this is no TOML: {error}") from None


def _parse_slowly(text: str, source: str) -> dict[str, Any]:
    """For Python 3.10, which has no reader of its own."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        return dict(tomlkit.parse(text).unwrap())
    except TOMLKitError as error:
        raise ConfigurationError(f"{source}: this is no TOML: {error}") from None


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:  # some editors begin a file with a mark of their own
            return file.read()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{os.fspath(path)}: this is no TOML: {error}") from None
    except (OSError, ValueError) as error:  # the latter for paths that cannot be one
        why = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"{os.fspath(path) or repr(path)}: this file cannot be read ({why}); name a TOML file, or write one with `plait init`"
        ) from None


def show(path: Path) -> str:
    """``executors[0].provider.partition``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if _BARE.fullmatch(step) else f'"{step}"')
    return text


class Lines:
    """Knows the lines of a document that `parse` has accepted.

    The libraries that read TOML do not say where a value stood. This reads the text once more, for keys only.

    Args:
        text: of the document.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counts: dict[Path, int] = {}
        self.of: dict[Path, int] = {}
        try:
            self._document()
        except (IndexError, ValueError, AttributeError):
            pass  # a line that is not known is not said: better than no message at all

    def find(self, path: Path) -> int:
        """The line of a value, or of the nearest thing around it that has one; 0 for none."""
        while path:
            if path in self.of:
                return self.of[path]
            path = path[:-1]
        return 0

    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1

    def _skip(self) -> None:
        match = _SPACE.match(self._text, self._at)
        assert match is not None  # noqa: S101 - it matches nothing, at least
        self._at = match.end()

    def _document(self) -> None:
        table: Path = ()
        while True:
            self._skip()
            if self._at >= len(self._text):
                return
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        line = self._line()
        many = self._text.startswith("[[", self._at)
        self._at += 2 if many else 1
        keys = self._keys()
        self._at = self._text.index("]", self._at) + (2 if many else 1)
        path: Path = ()
        for number, key in enumerate(keys):
            path = (*path, key)
            if many and number == len(keys) - 1:
                self._counts[path] = self._counts.get(path, -1) + 1
            if path in self._counts:
                path = (*path, self._counts[path])
            self.of.setdefault(path, line)
        return path

    def _keys(self) -> list[str]:
        """``a."b".c``, with the place behind it."""
        keys = []
        while True:
            self._skip()
            if self._text[self._at] in "\"'":
                keys.append(self._string())
            else:
                match = _BARE.match(self._text, self._at)
                keys.append(match[0])  # type: ignore[index] # a document that is no TOML: see __init__
                self._at = match.end()  # type: ignore[union-attr]
            self._skip()
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _string(self) -> str:
        match = _STRING.match(self._text, self._at)
        self._at = match.end()  # type: ignore[union-attr]
        text = match[0]  # type: ignore[index]
        return _ESCAPE.sub(_unescape, text[1:-1]) if text[0] == '"' else text[1:-1]

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = table
        for key in self._keys():
            path = (*path, key)
            self.of.setdefault(path, line)
        self._at = self._text.index("=", self._at) + 1
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip()
        self.of.setdefault(path, self._line())
        first = self._text[self._at]
        if first == "[":
            self._list(path)
        elif first == "{":
            self._inline(path)
        elif first in "\"'":
            self._string()
        else:
            self._at = _SCALAR.match(self._text, self._at).end()  # type: ignore[union-attr]

    def _list(self, path: Path) -> None:
        self._at += 1
        number = 0
        while True:
            self._skip()
            if self._text[self._at] == "]":
                self._at += 1
                return
            if self._text[self._at] == ",":
                self._at += 1
                continue
            self._value((*path, number))
            number += 1

    def _inline(self, path: Path) -> None:
        self._at += 1
        while True:
            self._skip()
            if self._text[self._at] == "}":
                self._at += 1
                return
            if self._text[self._at] == ",":
                self._at += 1
                continue
            self._pair(path)


def _unescape(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else {"n": "\n", "t": "\t"}.get(match[3], match[3])
