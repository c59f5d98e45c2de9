"""What the test beds share: a folder, daemons outside the tree of processes, free ports, commands with an end.

with Bed("slurm") as bed:
    bed.start("munged", ["munged", "--foreground", ...])
    bed.run(["sinfo"])
    bed.kill("munged")
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.leaks import PR_SET_CHILD_SUBREAPER, adopt_orphans
from tests.support import require, require_linux

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Self

START_S = 30.0  # a system has this long to come up, on a machine that does other things too
#: Daemons and administrators' commands are found here too; a developer's PATH may lack it.
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


class BedError(RuntimeError):
    """A command of a test bed failed; the text has its output."""


class Bed:
    """The daemons of one system, and their folder.

    They are kept by a process that is not below this one, so that the check for leaks (tests/leaks.py) sees neither them nor what they
    start in a test; it ends them when the bed is closed, and when this process is gone, however.

    Args:
        name: of the system; a part of the folder's name.

    Attributes:
        folder: where configuration, sockets and logs are. Removed at the end. Short: sockets may be in it.
        env: the environment of daemons and commands. Beds add to it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
        self.env = {"PATH": PATH, "HOME": os.environ.get("HOME", "/root"), "LANG": "C.UTF-8", "TMPDIR": "/tmp"}
        with _no_subreaper():
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(__file__).with_name("keeper.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            self._keeper.wait(START_S)  # what goes on is its child, and nobody's
        self._ask(do="folder", path=str(self.folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all daemons and removes the folder; returns when that is done."""
        assert self._keeper.stdin
        assert self._keeper.stdout
        self._keeper.stdin.close()
        self._keeper.stdout.read()  # ends when the keeper does
        self._keeper.stdout.close()

    # ------------------------------------------------------------------ daemons
    def start(self, name: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
        """Starts a daemon that stays in the foreground; the number of its process. Its output is in `log(name)`."""
        answer = self._ask(
            do="start", name=name, argv=[_program(argv[0]), *argv[1:]], env={**self.env, **(env or {})},
            log=str(self._log(name)), cwd=str(self.folder),
        )  # fmt: skip
        return answer["pid"]

    def kill(self, name: str, number: int = signal.SIGKILL) -> int | None:
        """Sends a daemon a signal. One that ends it has ended it when this returns."""
        return self._ask(do="kill", name=name, signal=int(number))["code"]

    def alive(self, name: str) -> bool:
        """Whether a daemon runs."""
        return self._ask(do="look", name=name)["code"] is None

    def at_end(self, *argv: str) -> None:
        """Leaves a command for the end, after all daemons: the last that was left is the first that runs."""
        self._ask(do="at_end", argv=[_program(argv[0]), *argv[1:]])

    def log(self, name: str) -> str:
        """What a daemon printed; its end."""
        with contextlib.suppress(OSError):
            return self._log(name).read_text(errors="replace")[-4000:]
        return "(nothing)"

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.out"

    def _ask(self, **order: Any) -> dict[str, Any]:
        assert self._keeper.stdin
        assert self._keeper.stdout
        self._keeper.stdin.write(json.dumps(order).encode() + b"\n")
        self._keeper.stdin.flush()
        line = self._keeper.stdout.readline()
        answer = json.loads(line) if line else {"error": "the keeper is gone"}
        if "error" in answer:
            raise BedError(f"{self.name}: {order}: {answer['error']}")
        return answer

    # ------------------------------------------------------------------ commands and files
    def run(self, argv: Sequence[str], *, timeout_s: float = 20.0, check: bool = True, stdin: str = "") -> str:
        """Runs a command in the bed's environment; its output. Without `check`, whatever its exit code."""
        return run(argv, timeout_s=timeout_s, check=check, stdin=stdin, env=self.env)

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        """Writes a file into the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def until(self, cond: Callable[[], Any], what: str, *daemons: str, timeout_s: float = START_S) -> Any:
        """Waits until something is so; the error has what the daemons printed."""
        from tests.support import wait_until

        failed: list[BedError] = []

        def asked() -> Any:
            try:
                return cond()
            except BedError as error:
                failed[:] = [error]
                return None

        asked.__name__ = f"{self.name}: {what}"
        return wait_until(asked, timeout_s, lambda: "\n".join([*map(str, failed), *map(self._said, daemons)]))

    def _said(self, name: str) -> str:
        return f"--- {name}\n{self.log(name)}"


def run(
    argv: Sequence[str], *, timeout_s: float = 20.0, check: bool = True, stdin: str = "", env: Mapping[str, str] | None = None
) -> str:  # fmt: skip
    """Runs a command to its end; its output."""
    try:
        done = subprocess.run(
            [_program(argv[0]), *argv[1:]], input=stdin, capture_output=True, text=True, timeout=timeout_s, env=env, check=False
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BedError(f"{' '.join(argv)}: {error}") from error
    if check and done.returncode:
        raise BedError(f"{' '.join(argv)}: exit code {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def require_root(why: str) -> None:
    """Skips, or fails with ``CI=true``, where a bed cannot be made."""
    require_linux(why)
    require(os.geteuid() == 0, f"root, for {why}")


def require_commands(*names: str) -> None:
    """Skips, or fails with ``CI=true``, when one of a bed's commands is not installed."""
    for name in names:
        require(_found(name), f"the command {name!r} (tools/debian.sh installs it)")


def free_ports(count: int) -> list[int]:
    """Ports of this machine in a row that nobody listens on, below those that the kernel gives to those who ask for any."""
    for _ in range(200):
        first = random.randrange(10000, 30000 - count)
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    taken = stack.enter_context(socket.socket())
                    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    taken.bind(("0.0.0.0", port))
            except OSError:
                continue
        return list(range(first, first + count))
    raise BedError(f"no {count} free ports in a row")


def _found(name: str) -> str | None:
    return shutil.which(name, path=PATH)


def _program(name: str) -> str:
    return _found(name) or name


@contextlib.contextmanager
def _no_subreaper() -> Iterator[None]:
    """While this lasts, orphans of this process's tree go to init."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    try:
        yield
    finally:
        adopt_orphans()
