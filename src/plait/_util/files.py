"""Files that a person asked for."""

from __future__ import annotations

import os


def write_whole(path: str, text: str) -> None:
    """Writes a file that appears whole or not at all, also behind a link. Devices, pipes and `/dev/stdout` are written to, not replaced.

    Raises:
        OSError: it cannot be written.
    """
    if not is_replaceable(path):
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        return
    path = os.path.realpath(path)
    part = f"{path}.{os.getpid()}.part"
    try:
        with open(part, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        os.replace(part, path)
    except BaseException:
        if os.path.exists(part):
            os.unlink(part)
        raise


def is_replaceable(path: str) -> bool:
    """Whether the name stands for a plain file, or for none yet."""
    if os.path.abspath(path).startswith(("/dev/", "/proc/")):  # whatever standard output is at the moment
        return False
    return os.path.isfile(path) or not os.path.exists(path)
