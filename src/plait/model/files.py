"""A named datum: where it is, and what it is called here."""

from __future__ import annotations

import copy
import os
from pathlib import PurePath
from urllib.parse import urlparse


class File:
    """A file, named by a path or a URL.

    Attributes:
        url: as given.
        scheme: ``file`` for a plain path.
        netloc: host part of the URL.
        path: path part of the URL.
        filename: last part of the path.
        local_path: where a copy stands on the machine that uses it; None when nothing was staged.
    """

    url: str

    def __init__(self, url: str | os.PathLike[str] | File) -> None:
        if not isinstance(url, (str, bytes, os.PathLike, File)):
            raise TypeError(f"File({url!r}): expected a path or a URL")
        text = url.url if isinstance(url, File) else os.fspath(url)
        if not isinstance(text, str) or not text:
            raise ValueError(f"File({url!r}): expected a path or a URL")
        self.url = text
        parsed = urlparse("" if isinstance(url, PurePath) else text)  # a path may have a colon in it
        self.scheme = parsed.scheme or "file"
        self.netloc = parsed.netloc
        self.query = parsed.query
        self.path = parsed.path if parsed.scheme else text
        self.filename = os.path.basename(self.path)
        self.local_path: str | None = None

    def cleancopy(self) -> File:
        """A new File of the same URL that knows nothing of copies."""
        twin = copy.copy(self)  # a derived class may take something else than a URL
        twin.local_path = None
        return twin

    @property
    def filepath(self) -> str:
        """The path to open.

        Raises:
            ValueError: for a remote file of which no copy was staged.
        """
        if self.local_path is not None:
            return self.local_path
        if self.scheme == "file":
            return self.path
        raise ValueError(f"File({self.url!r}) is remote ({self.scheme}) and no local copy was made: no path to open")

    def __str__(self) -> str:
        return self.filepath

    def __fspath__(self) -> str:
        return self.filepath

    def __repr__(self) -> str:
        local = "" if self.local_path is None else f" local_path={self.local_path}"
        return f"<{type(self).__name__} at 0x{id(self):x} url={self.url}{local}>"


def as_file(value: object) -> File:
    """A File for a File, a path or a string.

    Raises:
        TypeError: for anything else.
    """
    if isinstance(value, File):
        return value
    if isinstance(value, (str, os.PathLike)):
        return File(value)
    raise TypeError(f"outputs: expected Files, paths or strings, not {type(value).__name__} ({value!r})")
