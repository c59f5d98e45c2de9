"""`SshShell`: commands and files of another machine, for providers of batch systems that stand on a login host."""

from __future__ import annotations

import hashlib
import os
import shlex
import socket
from typing import TYPE_CHECKING, Final

from plait.providers.shell import MAX_OUTPUT, MAX_READ, CommandFailed, Finished

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plait.providers.ssh_connection import Connection

#: Seconds that writing and reading small files may take.
_FILE_S: Final = 60.0
_WRITE: Final = 'umask 077; cat > "$1.new" && chmod "$2" "$1.new" && mv -f "$1.new" "$1"'
_READ: Final = 'tail -c "$2" -- "$1"'


class SshShell:
    """See `plait.providers.shell.Shell`.

    Args:
        connection: to the machine.
        shares_files: whether a path means the same file here and there.
        folder: where files are kept there when it does not; None for ``.plait/jobs`` in the user's home.
        init: a line of shell that comes before each command, such as ``. /etc/profile``; on one line.
    """

    def __init__(
        self, connection: Connection, *, shares_files: bool = False, folder: str | None = None, init: str = ""
    ) -> None:
        self.connection = connection
        self.shares_files = shares_files
        self._folder = folder
        self._init = init
        self._home = ""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        max_bytes: int = MAX_OUTPUT,
    ) -> Finished:
        """See `Shell.run`."""
        words = [*(["env", *(f"{name}={value}" for name, value in env.items())] if env else []), *argv]
        # Below the user's shell, which may be any, a plain one: what it makes of its words is known.
        line = f"{self._init}; exec {shlex.join(words)}" if self._init else f"exec {shlex.join(words)}"
        return self._line(f"exec /bin/sh -c {shlex.quote(line)}", argv, timeout_s, stdin, max_bytes)

    def script(self, text: str, *words: str, timeout_s: float = _FILE_S, stdin: str = "") -> Finished:
        """Runs a line of plain shell there, whose ``$1`` and so on are these words; raises as `run`."""
        command = shlex.join(["/bin/sh", "-c", text, "plait", *words])
        return self._line(f"exec {command}", ["sh", *words], timeout_s, stdin, MAX_OUTPUT)

    def _line(self, line: str, argv: Sequence[str], timeout_s: float, stdin: str, max_bytes: int) -> Finished:
        return self.connection.run(line, timeout_s=timeout_s, stdin=stdin, argv=argv, max_bytes=max_bytes)

    def write(self, path: str, text: str, *, executable: bool = False) -> None:
        """See `Shell.write`."""
        self.script(_WRITE, path, "700" if executable else "600", stdin=text).check()

    def read(self, path: str, max_bytes: int = MAX_READ) -> str | None:
        """See `Shell.read`."""
        try:
            done = self.script(_READ, path, str(max_bytes))
        except CommandFailed:
            return None
        return done.out if done.code == 0 else None

    def folder(self, here: str) -> str:
        """See `Shell.folder`. Folders of several machines and runs do not meet."""
        if self.shares_files:
            return here
        if not self._home:
            self._home = self.script("pwd -P").check().strip()  # where a log-in begins
        base = os.path.join(self._home, os.path.expanduser(self._folder) if self._folder else ".plait/jobs")
        return os.path.join(base, hashlib.sha256(os.fsencode(f"{socket.gethostname()}:{here}")).hexdigest()[:12])

    def make_folder(self, path: str) -> None:
        """See `Shell.make_folder`."""
        self.script('umask 077; mkdir -p -- "$1"', path).check()

    def remove(self, *paths: str) -> None:
        """See `Shell.remove`."""
        if paths:
            self.script('rm -f -- "$@"; rmdir -- "${1%/*}" 2>/dev/null; exit 0', *paths)

    def __repr__(self) -> str:
        return f"SshShell({self.connection.host!r})"
