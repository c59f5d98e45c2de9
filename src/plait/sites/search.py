"""Finding sites. A site is a TOML file with a head, and the name of the file is the name of the site."""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from plait._util.trust import untrusted
from plait.configfile.toml import parse, read_text
from plait.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Folders to look in before all others, as in PATH; above all for tests.
VARIABLE: Final = "PLAIT_SITES"
#: Where administrators put theirs.
SYSTEM: Final = "/etc/plait/sites"
_SHIPPED: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "catalogue")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
#: Keys of the head: their type, and how that is called.
_HEAD: Final[dict[str, tuple[type, str]]] = {
    "name": (str, "text"), "centre": (str, "text"), "url": (str, "text"), "scheduler": (str, "text"),
    "description": (str, "text"), "checked": (str, "text"), "notes": (str, "text"),
    "needs": (list, "a list of names of parameters"), "hosts": (list, "a list of patterns of host names"),
    "environment": (dict, "a table of variables and what they hold"),
}  # fmt: skip


@dataclass(frozen=True)
class Site:
    """A machine that somebody has written a configuration for.

    Attributes:
        name: what users ask for.
        path: the file.
        origin: whose catalogue it is in: ``project``, ``user``, ``system``, ``shipped``, or the variable that named the folder.
        text: the file's.
        centre: who runs the machine.
        url: its documentation.
        scheduler: what jobs are given to.
        description: a line for people.
        checked: when the entry was last compared with the documentation, as ``2026-11``.
        notes: what a user must know besides.
        needs: parameters that no entry can know, such as an account.
        hosts: patterns of the names of its login nodes.
        environment: variables that are set on it alone.
    """

    name: str
    path: str
    origin: str
    text: str = field(repr=False)
    centre: str = ""
    url: str = ""
    scheduler: str = ""
    description: str = ""
    checked: str = ""
    notes: str = ""
    needs: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def is_here(self) -> bool:
        """Whether this machine looks like one of its login nodes."""
        if any(os.environ.get(name) == value for name, value in self.environment.items()):
            return True
        names = {socket.gethostname(), os.environ.get("HOSTNAME", "")} - {""}
        return any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in self.hosts)


def folders() -> list[tuple[str, str]]:
    """Where sites are looked for, the first first: (whose it is, folder). What stands further up hides what is below."""
    named = [folder for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder]
    user = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return [
        *((VARIABLE, folder) for folder in named),
        ("project", os.path.join(os.curdir, ".plait", "sites")),
        ("user", os.path.join(user, "plait", "sites")),
        ("system", SYSTEM),
        ("shipped", _SHIPPED),
    ]


def sites(wrong: list[str] | None = None) -> list[Site]:
    """All sites by name.

    Args:
        wrong: takes what is wrong with files that are, whose sites are left out; without it that is an error.

    Raises:
        ConfigurationError: naming the file and the key.
    """
    found: dict[str, Site | None] = {}
    for name, path, origin in _files(wrong):
        if name not in found:
            try:
                found[name] = read_site(path, origin)
            except ConfigurationError as error:
                if wrong is None:
                    raise
                found[name] = None  # it still hides others
                wrong.append(str(error))
    return [site for _, site in sorted(found.items()) if site is not None]


def find_site(name: str) -> Site:
    """The site of a name.

    Raises:
        ConfigurationError: there is none, with names that are like it; or its file is wrong.
    """
    names = []
    for each, path, origin in _files():
        if each == name:
            return read_site(path, origin)
        names.append(each)
    close = difflib.get_close_matches(name.lower(), names, 3, 0.6)
    hint = f"did you mean {' or '.join(dict.fromkeys(close))}?" if close else "`plait sites` lists those that there are"
    raise ConfigurationError(f"site {name!r}: there is no such site; {hint}")


def _files(wrong: list[str] | None = None) -> Iterator[tuple[str, str, str]]:
    """(name, path, origin) of every file; ``wrong`` takes which folders cannot be read."""
    for origin, folder in folders():
        try:
            entries = sorted(entry for entry in os.listdir(folder) if entry.endswith(".toml"))
        except OSError as error:
            if wrong is not None and isinstance(error, PermissionError):
                wrong.append(f"{folder}: this folder cannot be read ({error.strerror})")
            continue
        if origin == "project" and untrusted(folder):
            continue  # a folder that somebody has put where others happen to work
        for entry in entries:
            yield entry.removesuffix(".toml"), os.path.join(folder, entry), origin


def read_site(path: str, origin: str = "file") -> Site:
    """Reads one file.

    Raises:
        ConfigurationError: naming the file and the key.
    """
    text = read_text(path)
    head = parse(text, path).get("site")
    if not isinstance(head, dict):
        raise ConfigurationError(
            f"{path}: a site needs a table [site] with its name, centre, scheduler and description"
        )
    name = os.path.basename(path).removesuffix(".toml")
    values = check_head(head, path)
    if values.setdefault("name", name) != name or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{path}: site.name = {values['name']!r}: expected the name of the file, {name!r}, of letters, digits and . _ -"
        )
    return Site(path=path, origin=origin, text=text, **values)


def check_head(head: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The values of a head, with lists as tuples.

    Raises:
        ConfigurationError: naming the key, its value and what was expected.
    """
    values: dict[str, Any] = {}
    for key, value in head.items():
        if key not in _HEAD:
            close = difflib.get_close_matches(key, _HEAD, 1)
            hint = f"; did you mean {close[0]}?" if close else f"; expected some of {', '.join(_HEAD)}"
            raise ConfigurationError(f"{source}: site.{key}: there is no such key{hint}")
        kind, called = _HEAD[key]
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        if not isinstance(value, kind) or not all(isinstance(each, str) for each in inner):
            raise ConfigurationError(f"{source}: site.{key} = {value!r}: expected {called}")
        values[key] = tuple(value) if isinstance(value, list) else value
    return values
