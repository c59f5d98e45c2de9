"""One connection to another machine, by OpenSSH's own client, over which everything goes: commands, files, and ports that lead back here.

```
driver ──pipe──▶ ssh (master) ═══════ one log-in ═══════ sshd ──▶ sh: says that it is up, waits for the end of its input
   │                 ▲ socket in a private folder
   └──▶ ssh (one for each command, uses the master's connection)
```

So the user's ``~/.ssh/config``, agents, jump hosts and second factors work as always: questions are asked on the terminal, once, when the first connection is
made. A connection that broke is made again by itself as far as that needs no answers. The master ends with the driver, however that ends: its input does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import shlex
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from plait._util.dirs import private_temp_dir
from plait.errors import ConfigurationError
from plait.providers.shell import CommandFailed, Finished, LocalShell, last_line

if TYPE_CHECKING:
    from collections.abc import Sequence

_logger: Final = logging.getLogger("plait")

#: ``user@host``, an alias of ``~/.ssh/config``, or an address. Nothing that a command line could take for an option, and nothing that a shell reads.
_HOST: Final = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9_][A-Za-z0-9_.:%-]*")
_OPTION: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*=[ -~]+")
#: Options of ssh that start programs of their own choice here: whoever needs them has a configuration file.
_PROGRAMS: Final = frozenset({"proxycommand", "localcommand", "permitlocalcommand", "knownhostscommand"})
#: What a connection for commands is to be, whatever else the user's configuration says of the host.
_SOBER: Final = (
    "ClearAllForwardings=yes", "EscapeChar=none", "ForwardAgent=no", "ForwardX11=no", "LogLevel=ERROR", "PermitLocalCommand=no",
    "RemoteCommand=none", "RequestTTY=no", "Tunnel=no",
)  # fmt: skip
#: A connection that is dead is noticed within 30 seconds.
_ALIVE: Final = ("ConnectTimeout=15", "ServerAliveInterval=10", "ServerAliveCountMax=3", "TCPKeepAlive=yes")
#: What the other end does for as long as the connection lasts. Its parent, which holds the ports, ends with it.
_HELLO: Final = "plait-is-up"
_WAIT: Final = f"exec /bin/sh -c {shlex.quote(f'echo {_HELLO} $PPID; exec cat >/dev/null')}"
#: Seconds that a person has to answer questions, and a machine to be reached without any.
_LOGIN_S: Final = (180.0, 30.0)
#: Seconds between two tries to make a lost connection again: the first, and the longest.
_RETRY_S: Final = (2.0, 30.0)
#: Seconds after which a log-in that is under way notices that it is not wanted any more.
_STEP_S: Final = 0.5
_SSH_FAILED: Final = 255
_HERE: Final = LocalShell()


def checked_host(owner: str, parameter: str, value: Any) -> str:
    """A name, address or alias of a host, with or without a user.

    Raises:
        ConfigurationError: it is none.
    """
    if not isinstance(value, str) or not _HOST.fullmatch(value) or len(value) > 255:
        raise ConfigurationError(
            f"{owner}({parameter}={value!r}): expected a host's name, its address or an alias of ~/.ssh/config, such as 'me@login.example.org'"
        )
    return value


def checked_options(owner: str, options: Any) -> tuple[str, ...]:
    """Options of ssh, ``Name=value``.

    Raises:
        ConfigurationError: one is something else, or starts programs.
    """
    if not isinstance(options, (list, tuple)) or not all(
        isinstance(each, str) and _OPTION.fullmatch(each) for each in options
    ):
        raise ConfigurationError(
            f"{owner}(options={options!r}): expected a list of options of ssh such as ['Port=2222']"
        )
    for option in options:
        if option.partition("=")[0].lower() in _PROGRAMS:
            raise ConfigurationError(
                f"{owner}(options={options!r}): {option.partition('=')[0]} starts a program; put it into a file and name that as ssh_config"
            )
    return tuple(options)


class Connection:
    """A connection to one host. It is made when it is first needed.

    Args:
        host: as for ``ssh``.
        ssh_config: a configuration file instead of ``~/.ssh/config``.
        options: further options, ``Name=value``; they win.
        ask: whether questions may be asked on the terminal; None when there is one.
    """

    def __init__(
        self, host: str, *, ssh_config: str | None = None, options: Sequence[str] = (), ask: bool | None = None
    ) -> None:
        self.host = checked_host("Connection", "host", host)
        self._words = ["-F", os.path.expanduser(ssh_config)] if ssh_config else []
        self._options = [word for option in (*options, *_SOBER, *_ALIVE) for word in ("-o", option)]
        self._ask = ask
        self._folder = ""
        self._master: subprocess.Popen[bytes] | None = None
        self._peer = ""  # the process there that holds the ports of the last connection
        self._forwards: dict[tuple[str, int], int] = {}  # (address here, port here) -> port there
        self._was_up = False
        self._retry_s = 0.0
        self._pause_s = _RETRY_S[0]
        self._why = ""
        self.lives = 0  # connections that were made
        self._shut = False

    # ------------------------------------------------------------------ commands
    def run(
        self, command: str, *, timeout_s: float, stdin: str = "", argv: Sequence[str] = (), max_bytes: int = 8 << 20
    ) -> Finished:
        """Runs a line of shell there.

        Args:
            command: the line; on one line, because some users' shells want it so.
            timeout_s: seconds after which it is given up here. What it started there may go on.
            stdin: what it reads.
            argv: how messages call it.
            max_bytes: bytes that it may write to each output.

        Raises:
            CommandFailed: there is no connection, or it broke, or the time was over. Whether the command had an effect is then not known.
        """
        self.up()
        told = tuple(argv) or (command,)
        try:
            done = _HERE.run(
                self._client("--", self.host, command), timeout_s=timeout_s, stdin=stdin, max_bytes=max_bytes
            )
        except CommandFailed as error:
            raise CommandFailed(told, None, error.out, error.err, f"on {self.host}: {error.why}") from None
        if done.code == _SSH_FAILED and not self.is_up:
            why = f"the connection to {self.host} broke"
            raise CommandFailed(told, None, done.out, done.err, why)
        return Finished(told, done.code, done.out, done.err)

    def popen(self, command: str) -> subprocess.Popen[bytes]:
        """Starts a line of shell there that lasts; its input and output are pipes.

        Raises:
            CommandFailed: there is no connection.
        """
        self.up()
        return subprocess.Popen(
            self._client("--", self.host, command),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def forward(self, address: str, port: int, there: int = 0) -> int:
        """Makes a port of that host's loopback lead to an address here, now and whenever the connection is made again.

        Args:
            address: here.
            port: here.
            there: the port there; 0 for any.

        Returns:
            The port there.

        Raises:
            CommandFailed: it cannot be had.
        """
        self.up()
        key = (address, port)
        if key not in self._forwards:
            self._forwards[key] = self._forward(address, port, there)
        return self._forwards[key]

    def _forward(self, address: str, port: int, there: int) -> int:
        target = f"[{address}]" if ":" in address else address
        argv = self._client("-O", "forward", "-R", f"127.0.0.1:{there}:{target}:{port}", "--", self.host, forwards=True)
        done = _HERE.run(argv, timeout_s=30.0)
        if done.code:
            raise CommandFailed(
                ("ssh", "-R", f"127.0.0.1:{there}:{target}:{port}", self.host), done.code, done.out, done.err,
                f"no port of {self.host} can be made to lead here (is it taken, or is AllowTcpForwarding off there?)",
            )  # fmt: skip
        return there or int(done.out)

    # ------------------------------------------------------------------ life
    def up(self) -> None:
        """Sees to it that there is a connection.

        Raises:
            CommandFailed: there is none, and why. After a failure the next try is made some seconds later only.
        """
        if self.is_up:
            return
        if self._shut:
            raise self._failed(f"the connection to {self.host} was closed")
        if time.monotonic() < self._retry_s:
            raise CommandFailed(("ssh", self.host), None, "", "", f"there is no connection to {self.host}: {self._why}")
        self._end()
        try:
            try:
                self._begin()
            except OSError as error:  # its folder, and what it says there: too many files are open, or the disk is full
                raise self._failed(f"no connection can be made here: {error}") from None
        except CommandFailed as error:
            self._end()
            self._why = error.why
            self._retry_s = time.monotonic() + self._pause_s
            self._pause_s = min(2 * self._pause_s, _RETRY_S[1])
            raise
        self._pause_s, self._retry_s = _RETRY_S[0], 0.0

    def open(self) -> None:
        """Allows connections, at first and after `close`."""
        self._shut = False

    def close(self) -> None:
        """Ends the connection, with what runs over it. None is made again before `open`, by a thread that nobody waits for any more, either."""
        self._shut = True
        self._end()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""
        self._forwards.clear()
        self._peer, self._was_up, self._retry_s = "", False, 0.0

    @property
    def is_up(self) -> bool:
        """Whether there is one now."""
        return self._master is not None and self._master.poll() is None

    def _begin(self) -> None:
        self._folder = self._folder or private_temp_dir("plait-ssh-")
        # Only the first connection may ask: later ones are made in the middle of a run, perhaps at night.
        asks = not self._was_up and (_has_terminal() if self._ask is None else self._ask)
        batch = [] if asks else ["-o", "BatchMode=yes"]
        argv = ["ssh", *self._words, "-M", "-S", self._socket, "-o", "ControlPersist=no", *batch, *self._options]
        argv += ["-T", "--", self.host, _WAIT]
        # On a terminal it must stay in its foreground to ask, so it is made deaf to Ctrl-C instead, which is the driver's.
        argv = ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "ssh", *argv] if asks else argv
        with open(os.path.join(self._folder, "errors"), "w+b") as errors:
            try:
                self._master = subprocess.Popen(
                    argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=not asks
                )
            except OSError as error:
                raise self._failed(f"ssh cannot be started: {error.strerror or error}") from None
            if self._shut:  # meanwhile
                raise self._failed("it was closed")
            line = _first_line(self._master, _LOGIN_S[0] if asks else _LOGIN_S[1])
            if not line.startswith(_HELLO):
                errors.seek(0)
                said = last_line(errors.read(65536).decode("utf-8", "replace"))
                raise self._failed(said or "it did not answer")
        old, self._peer = self._peer, line.removeprefix(_HELLO).strip()
        self._was_up = True
        self.lives += 1
        self._renew(old)

    def _renew(self, old: str) -> None:
        """Asks for the same ports as before. The former connection may not have noticed its end there, and hold them."""
        if not self._forwards:
            return
        if old.isdigit() and old != self._peer:
            _HERE.run(self._client("--", self.host, f"kill {old} 2>/dev/null; exit 0"), timeout_s=30.0)
        for (address, port), there in self._forwards.items():
            self._forward(address, port, there)

    def _end(self) -> None:
        master, self._master = self._master, None
        if master is None:
            return
        with contextlib.suppress(OSError):
            master.terminate()
        for stream in (master.stdin, master.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            master.wait(2.0)
        except subprocess.TimeoutExpired:
            master.kill()
            master.wait()
        with contextlib.suppress(OSError):
            os.unlink(self._socket)

    @property
    def _socket(self) -> str:
        return os.path.join(self._folder, "m")

    def _client(self, *words: str, forwards: bool = False) -> list[str]:
        """A command that uses the connection that there is, and makes none of its own."""
        options = (
            self._options if not forwards else [word for word in self._options if word != "ClearAllForwardings=yes"]
        )
        if forwards:
            options = [word for option in _ALIVE for word in ("-o", option)]
        own = ["-o", "ControlMaster=no", "-o", "BatchMode=yes", "-o", "ProxyCommand=false", "-T"]
        return ["ssh", *self._words, "-S", self._socket, *own, *options, *words]

    def _failed(self, why: str) -> CommandFailed:
        return CommandFailed(("ssh", self.host), None, "", "", why)

    def __repr__(self) -> str:
        return f"Connection({self.host!r})"


def _has_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _first_line(process: subprocess.Popen[bytes], timeout_s: float) -> str:
    """The line by which a process says that it is up; what came when it ended, or the time was over. Login scripts may say more before."""
    assert process.stdout is not None  # noqa: S101 - a pipe
    deadline_s = time.monotonic() + timeout_s
    data = b""
    try:
        poll = select.poll()
        poll.register(process.stdout, select.POLLIN)
        while (left_s := deadline_s - time.monotonic()) > 0:
            # in short steps: another thread may close it, of which nothing would be heard here
            if not poll.poll(1000 * min(left_s, _STEP_S)):
                continue
            chunk = os.read(process.stdout.fileno(), 4096)
            data += chunk
            *lines, _ = data.split(b"\n")
            for line in lines:
                if line.startswith(_HELLO.encode()):
                    return line.decode("ascii", "replace")
            if not chunk or len(data) > 1 << 20:
                break
    except (OSError, ValueError):  # it was closed
        pass
    return ""
