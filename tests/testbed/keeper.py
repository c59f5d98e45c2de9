"""The process that keeps the daemons of a test bed: run by `tests.testbed.common.Bed`, talked to in lines of JSON.

```
pytest ═══ two pipes ═══ keeper ──▶ daemon, daemon, …     not below pytest: the check for leaks does not see them
```

It is the parent of its daemons and of whatever they lose, so none stays a zombie, and a daemon that dies is known to have died. When the
other end of the pipe closes, however pytest ended, it kills them all, runs the commands that were left for the end, and removes the folder.

Nothing but the standard library, and nothing of this project: it runs with ``python -I``.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time

END_S = 10.0  # what was killed has this long to be gone


class Keeper:
    """Daemons by name."""

    def __init__(self) -> None:
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.codes: dict[int, int] = {}
        self.at_end: list[list[str]] = []
        self.folders: list[str] = []

    def reap(self) -> bool:
        """Takes the exit status of everything that ended, orphans included. Whether there is more to come."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return True
                self.codes[pid] = os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            return False

    def code(self, name: str) -> int | None:
        """The exit code of a daemon; None while it runs."""
        self.reap()
        daemon = self.daemons[name]
        daemon.returncode = self.codes.get(daemon.pid)  # it is ours to wait for, not Popen's
        return daemon.returncode

    def start(self, name: str, argv: list[str], log: str, env: dict[str, str], cwd: str) -> int:
        """Starts a daemon in a session of its own; its output is appended to the log."""
        if name in self.daemons and self.code(name) is None:
            raise RuntimeError(f"{name} runs already")
        with open(log, "ab") as out:
            daemon = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, cwd=cwd, start_new_session=True
            )
        self.codes.pop(daemon.pid, None)
        self.daemons[name] = daemon
        return daemon.pid

    def kill(self, name: str, number: int) -> int | None:
        """Sends a signal to a daemon. A signal that ends it is followed by SIGKILL after some time; returns when it is gone."""
        if self.code(name) is None:
            os.kill(self.daemons[name].pid, number)
            if number in {signal.SIGSTOP, signal.SIGCONT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}:
                return None
            deadline_s = time.monotonic() + END_S
            while self.code(name) is None:
                if time.monotonic() > deadline_s:
                    os.kill(self.daemons[name].pid, signal.SIGKILL)
                pause(0.01)
        return self.code(name)

    def end(self) -> None:
        """Kills all, and tidies up."""
        deadline_s = time.monotonic() + END_S
        while self.reap() and time.monotonic() < deadline_s:
            for pid in descendants():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            pause(0.005)
        for argv in reversed(self.at_end):
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=END_S, check=False)
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)

    def obey(self, order: dict) -> dict:
        """Carries out one order."""
        what = order.pop("do")
        if what == "start":
            return {"pid": self.start(**order)}
        if what == "kill":
            return {"code": self.kill(order["name"], order["signal"])}
        if what == "look":
            return {"code": self.code(order["name"])}
        if what == "at_end":
            self.at_end.append(order["argv"])
        elif what == "folder":
            self.folders.append(order["path"])
        return {}


def pause(seconds: float) -> None:
    """Lets time pass."""
    select.select([], [], [], seconds)


def descendants() -> list[int]:
    """Processes below this one that are alive, deepest last."""
    found: list[int] = []
    todo = [os.getpid()]
    while todo:
        with contextlib.suppress(OSError), open(f"/proc/{(pid := todo.pop())}/task/{pid}/children") as listing:
            for child in map(int, listing.read().split()):
                with contextlib.suppress(OSError), open(f"/proc/{child}/stat", errors="replace") as text:
                    if text.read().rpartition(")")[2].split()[0] not in "ZX":
                        found.append(child)
                todo.append(child)
    return found


def main() -> None:
    """Leaves its parent, and obeys until nobody can give orders any more."""
    if os.fork():
        os._exit(0)  # so the parent can wait for this, and the daemons' keeper belongs to nobody
    os.setsid()
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    os.chdir("/")
    keeper = Keeper()
    pending = b""
    try:
        while True:
            if not select.select([0], [], [], 0.2)[0]:
                keeper.reap()
                continue
            got = os.read(0, 65536)
            if not got:
                return
            *lines, pending = (pending + got).split(b"\n")
            for line in lines:
                try:
                    answer = keeper.obey(json.loads(line))
                except (OSError, RuntimeError, KeyError) as error:
                    answer = {"error": f"{type(error).__name__}: {error}"}
                os.write(1, json.dumps(answer).encode() + b"\n")
    finally:
        keeper.end()


if __name__ == "__main__":
    main()
