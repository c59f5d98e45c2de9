"""Folders that plait makes: numbered ones for runs, private ones for the time of a process."""

from __future__ import annotations

import os
import re
import shutil
import time
from typing import Final

from plait.errors import ConfigurationError

#: Names that count as numbers of runs. Eight digits are a date that somebody put there: the next run is not to follow it.
_NUMBER: Final = re.compile(r"[0-9]{3,7}")
#: Bytes of a folder's path from which on a socket in it might not fit into the 107 (macOS: 103) bytes that the system allows.
_MAX_SOCKET_FOLDER: Final = 70


def make_numbered_dir(base: str | os.PathLike[str]) -> str:
    """Makes ``<base>/000``, or the number after the largest there; processes that do so at the same time get different ones.

    Args:
        base: folder that holds the runs; made when it is missing. Both it and the new folder are for their owner only.

    Returns:
        The absolute path of the new folder.

    Raises:
        ConfigurationError: when the folder cannot be made.
    """
    folder = os.path.abspath(os.fspath(base))
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        number = max((int(name) for name in os.listdir(folder) if _NUMBER.fullmatch(name)), default=-1) + 1
        while not _make(path := os.path.join(folder, f"{number:03d}")):
            number += 1
    except OSError as error:
        raise ConfigurationError(
            f"run_dir={os.fspath(base)!r}: the folder of this run cannot be made in {folder} ({error.strerror or error}); "
            "choose a folder in which you may write, or keep no files with initialize_logging=False"
        ) from error
    return path


def _make(path: str) -> bool:
    """Whether the folder is new: making it is what decides between processes."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return False
    return True


def remove_busy_dir(path: str, timeout_s: float = 2.0) -> None:
    """Removes a folder in which something that is being ended may still write a last file."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.exists(path) or time.monotonic() >= deadline_s:
            return
        time.sleep(0.02)


def private_temp_dir(prefix: str = "plait-") -> str:
    """A new empty folder for this user only, with a path short enough for Unix sockets. Whoever asks removes it.

    It is in the system's folder for temporary files (``TMPDIR``), unless the path of that is too long for sockets.
    """
    import tempfile

    parent = os.path.realpath(tempfile.gettempdir())
    if len(os.fsencode(parent)) > _MAX_SOCKET_FOLDER and os.access("/tmp", os.W_OK | os.X_OK):  # noqa: S108 - mkdtemp makes it private
        parent = "/tmp"  # noqa: S108
    return tempfile.mkdtemp(prefix=prefix, dir=parent)
