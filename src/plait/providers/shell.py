"""Where the commands of a batch system are run, and its scripts kept: this machine, or another that is reached from it.

```
provider ──argv──▶ Shell ──┬── LocalShell      a process of this machine, in a session of its own
         ◀─Finished─       └── SshShell        the same on a login host (ssh_shell.py)
```

Commands are lists of words and never pass through a shell. Each has a time-out, after which its whole session is ended, and a bound on what it may say:
a batch system in trouble hangs, and a broken one may talk without end.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from plait.errors import ExecutionProviderException, signal_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Bytes that a command may write to each of its outputs.
MAX_OUTPUT: Final = 8 << 20
#: Bytes of the end of a file that `Shell.read` gives.
MAX_READ: Final = 1 << 16
_CHUNK: Final = 1 << 16
#: Characters of a command's words, and of what it said, in a message.
_WORDS: Final = 200
_SAID: Final = 400


class CommandFailed(ExecutionProviderException):
    """A command of a batch system did not do what it was asked for.

    Attributes:
        argv: its words.
        code: its exit status; negative for a signal; None when it could not be started or did not end in time.
        out, err: what it wrote.
        why: what happened, in words.
    """

    def __init__(self, argv: Sequence[str], code: int | None, out: str, err: str, why: str) -> None:
        super().__init__(tuple(argv), code, out, err, why)
        self.argv = tuple(argv)
        self.code = code
        self.out = out
        self.err = err
        self.why = why

    def __str__(self) -> str:
        words = " ".join(self.argv)
        words = words if len(words) <= _WORDS else f"{words[:_WORDS]}…"
        said = last_line(self.err) or last_line(self.out)
        return f"{words}: {self.why}" + (f": {said}" if said else "")


@dataclass(frozen=True)
class Finished:
    """A command that ended.

    Attributes:
        argv: its words.
        code: its exit status; negative for a signal.
        out, err: what it wrote.
    """

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    def check(self) -> str:
        """What it wrote to standard output.

        Raises:
            CommandFailed: its exit status is not 0.
        """
        if self.code == 0:
            return self.out
        raise self.failed(f"exit code {self.code}" if self.code > 0 else f"it was ended by {signal_name(-self.code)}")

    def failed(self, why: str) -> CommandFailed:
        """The error for an answer that is none, whatever the exit status says."""
        return CommandFailed(self.argv, self.code, self.out, self.err, why)


class Shell(Protocol):
    """Runs commands and keeps files somewhere.

    Attributes:
        shares_files: whether a path means the same file here and there.
    """

    shares_files: bool

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        max_bytes: int = MAX_OUTPUT,
    ) -> Finished:
        """Runs a command to its end.

        Args:
            argv: the program and its words.
            timeout_s: seconds after which it is ended.
            stdin: what it reads.
            env: variables in addition to those that are there.
            max_bytes: bytes that it may write to each output.

        Raises:
            CommandFailed: it could not be started, did not end in time, or wrote more. Whether it had an effect is then not known.
        """
        ...

    def write(self, path: str, text: str, *, executable: bool = False) -> None:
        """Makes or replaces a file that only its owner may read, at once and whole.

        Raises:
            OSError: it cannot be written.
            CommandFailed: the other machine did not take it.
        """
        ...

    def read(self, path: str, max_bytes: int = MAX_READ) -> str | None:
        """The end of a file; None when there is none, or it cannot be read now."""
        ...

    def folder(self, here: str) -> str:
        """The folder there that stands for one of this machine."""
        ...

    def make_folder(self, path: str) -> None:
        """Makes a folder, with those above it, that only its owner may enter."""
        ...

    def remove(self, *paths: str) -> None:
        """Removes files that may be there."""
        ...


class LocalShell:
    """This machine."""

    shares_files = True

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
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **env} if env else None,
                start_new_session=True,  # Ctrl-C is not for it, and it is ended with all that it started
            )
        except OSError as error:
            raise CommandFailed(argv, None, "", "", f"it cannot be started: {error.strerror or error}") from None
        with process:
            out, err, why = _talk(
                process, stdin.encode(errors="surrogateescape"), time.monotonic() + timeout_s, max_bytes
            )
            if not why:
                return Finished(tuple(argv), process.returncode, out, err)
            why = why.format(timeout_s=timeout_s, max_bytes=max_bytes)
        raise CommandFailed(argv, None, out, err, why)

    def write(self, path: str, text: str, *, executable: bool = False) -> None:
        """See `Shell.write`."""
        new = f"{path}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        mode = 0o700 if executable else 0o600
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            os.fchmod(fd, mode)
            file.write(text)
        os.replace(new, path)

    def read(self, path: str, max_bytes: int = MAX_READ) -> str | None:
        """See `Shell.read`."""
        try:
            with open(path, "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - max_bytes))
                return file.read(max_bytes).decode("utf-8", "replace")
        except OSError:
            return None

    def folder(self, here: str) -> str:
        """See `Shell.folder`."""
        return here

    def make_folder(self, path: str) -> None:
        """See `Shell.make_folder`."""
        os.makedirs(path, mode=0o700, exist_ok=True)

    def remove(self, *paths: str) -> None:
        """See `Shell.remove`."""
        for path in paths:
            with contextlib.suppress(OSError):
                os.unlink(path)

    def __repr__(self) -> str:
        return "LocalShell()"


def _talk(process: subprocess.Popen[bytes], data: bytes, deadline_s: float, max_bytes: int) -> tuple[str, str, str]:
    """Feeds a command and reads it to its end. Its two outputs, and why it was ended, if it was."""
    said: dict[int, bytearray] = {}
    why = ""
    # poll needs no file of its own, of which there may be none: the command has begun
    with selectors.PollSelector() as selector:
        for stream in (process.stdout, process.stderr):
            assert stream is not None  # noqa: S101 - both are pipes
            said[stream.fileno()] = bytearray()
            selector.register(stream, selectors.EVENT_READ)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        while selector.get_map() and not why:
            left_s = deadline_s - time.monotonic()
            ready = selector.select(left_s) if left_s > 0 else []
            if not ready:
                why = "it did not end within {timeout_s:g} s"
            for key, _ in ready:
                if key.fd in said:
                    chunk = os.read(key.fd, _CHUNK)
                    said[key.fd] += chunk
                    if not chunk:
                        selector.unregister(key.fileobj)
                    elif len(said[key.fd]) > max_bytes:
                        why = "it wrote more than {max_bytes} bytes"
                else:
                    data = _feed(key.fd, data)
                    if not data:
                        selector.unregister(key.fileobj)
                        process.stdin.close()  # type: ignore[union-attr]
    if not why:
        try:
            process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            why = "it did not end within {timeout_s:g} s"
    if why:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # not waited for yet, so the number is its own
        process.wait()
    out, err = (text.decode("utf-8", "replace") for text in said.values())
    return out, err, why


def _feed(fd: int, data: bytes) -> bytes:
    """Writes what fits; what is left. A command that does not read any more has had enough."""
    try:
        return data[os.write(fd, data[:_CHUNK]) :]
    except BlockingIOError:
        return data
    except BrokenPipeError:
        return b""


def last_line(text: str) -> str:
    """The last line that says something, in short."""
    line = next((line for line in reversed(text.splitlines()) if line.strip()), "").strip()
    return line if len(line) <= _SAID else f"{line[:_SAID]}…"
