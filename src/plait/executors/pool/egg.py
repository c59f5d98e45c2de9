"""The first moment of a zygote: its process, started by exec, which waits to be told what it is to be.

Nothing heavy is imported here, so that a process that needs a pool can have the zygote load its modules while it loads its own.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

from plait.executors.pool.page import anonymous_file
from plait.faults import fault

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Name of the environment variable that marks everything of one pool (`remains`).
MARK = "PLAIT_POOL"
_SOCKET_BYTES = 1 << 20


class Egg(NamedTuple):
    """A zygote that has been told nothing yet.

    Attributes:
        process: its process.
        control: our end of its socket.
        errors: a file without a name, into which it writes what goes wrong at its start.
        mark: the value of `MARK` that it and everything below it carry.
    """

    process: subprocess.Popen[bytes]
    control: socket.socket
    errors: int
    mark: str


def lay(env: Mapping[str, str]) -> Egg:
    """Starts a zygote with that environment."""
    kind = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    for sock in (ours, theirs):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
    errors = anonymous_file(0)
    mark = new_mark()
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    real_stderr = os.dup(2) if _is_open(2) else os.open(os.devnull, os.O_WRONLY)
    code = (
        f"import sys; sys.path.append({home!r}); "
        f"from plait.executors.pool.zygote import main; main({theirs.fileno()}, {real_stderr})"
    )
    if fault("pool.zygote_start") is not None:
        code = "raise SystemExit('planned fault: the zygote cannot start')"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        pass_fds=[theirs.fileno(), real_stderr],
        stdin=subprocess.DEVNULL,
        stderr=errors,
        env={**env, MARK: mark},
        start_new_session=True,
    )
    theirs.close()
    os.close(real_stderr)
    return Egg(process, ours, errors, mark)


def new_mark() -> str:
    """A value of `MARK` that no other pool has."""
    return f"{os.getpid()}-{os.urandom(8).hex()}"


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
