"""Whether a file says what its reader wants: who could have written it."""

from __future__ import annotations

import os
import stat

#: Nobody but the system's administrator.
ROOT = 0


def untrusted(path: str | os.PathLike[str], *, only_root: bool = False) -> str:
    """Why a file or folder might have been written by somebody else; empty when it cannot have been.

    Files are found by where they are, so the owner of one in a folder that all share decides what the finder's programs do.

    Args:
        path: what to look at.
        only_root: whether not even the user may be able to write it.
    """
    if not hasattr(os, "getuid"):
        return ""
    try:
        info = os.stat(path)
    except OSError as error:
        return f"it cannot be looked at ({error.strerror or error})"
    owners = {ROOT} if only_root else {ROOT, os.getuid()}
    if info.st_uid not in owners:
        return f"it belongs to user {info.st_uid}"
    shared = stat.S_IWOTH | (stat.S_IWGRP if only_root and info.st_gid != ROOT else 0)
    if info.st_mode & shared and not info.st_mode & stat.S_ISVTX:
        return "others may write it"
    return ""
