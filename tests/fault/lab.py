"""Programs under test that must die: started as processes of their own, watched from outside.

Every process of a test is below the test's own process, even when its parents are dead, because the test process is a child subreaper
(tests/leaks.py). So "nothing is left" is a look at one tree.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.leaks import collect_and_reap, descendants, describe
from tests.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

PREAMBLE = """
import os, signal, sys, threading, time
import plait
from plait import Config, ProcessPoolExecutor, ThreadPoolExecutor, bash_app, join_app, python_app
from plait.testing import tasks

def load(**config):
    executors = config.pop("executors", None) or [ProcessPoolExecutor(max_workers=2)]
    return plait.load(Config(executors=executors, **{"progress": False, "initialize_logging": False, **config}))

family, echo, note, loop = map(python_app, (tasks.family, tasks.echo, tasks.note, tasks.loop))
"""


class Driver:
    """A program, its output, and the processes below it."""

    def __init__(self, process: subprocess.Popen, out: Path) -> None:
        self.process = process
        self.pid = process.pid
        self.out = out

    def text(self) -> str:
        """What it wrote to both outputs."""
        return self.out.read_text(errors="replace") if self.out.exists() else ""

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout_s: float = 20.0) -> int:
        """Its exit code."""
        wait_until(lambda: self.process.poll() is not None, timeout_s, self.text)
        return self.process.returncode

    def says(self, word: str, timeout_s: float = 20.0) -> str:
        """Waits until it wrote the word; all that it wrote."""

        def said() -> bool:
            return word in self.text() or self.process.poll() is not None

        wait_until(said, timeout_s, self.text)
        assert word in self.text(), f"it ended ({self.process.returncode}) without {word!r}:\n{self.text()}"
        return self.text()


@contextlib.contextmanager
def driver(body: str, *arguments: str, **options) -> Iterator[Driver]:
    """Runs a program that begins with `PREAMBLE`; kills it at the end if it is still there."""
    number = len(list(Path.cwd().glob("driver*.py")))
    script = Path(f"driver{number}.py").absolute()
    script.write_text(PREAMBLE + textwrap.dedent(body))
    out = Path(f"driver{number}.out").absolute()
    with out.open("wb") as file:
        settings = {"stdout": file, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL, **options}
        process = subprocess.Popen([sys.executable, str(script), *arguments], **settings)
    try:
        yield Driver(process, out)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def run(body: str, *arguments: str, timeout_s: float = 20.0, **options) -> tuple[int, str]:
    """Exit code and output of a program."""
    with driver(body, *arguments, **options) as program:
        return program.wait(timeout_s), program.text()


def below(pid: int) -> set[int]:
    """Living processes below one of ours."""
    from plait._util import procs

    return set(procs.descendants(pid))


def all_gone(before: set[int], within_s: float) -> None:
    """Fails unless everything but the processes of ``before`` is gone in that time."""

    def gone() -> bool:
        collect_and_reap()
        return not descendants() - before

    wait_until(gone, within_s, lambda: "\n".join(f"{pid}: {describe(pid)}" for pid in descendants() - before))


def numbers(path: Path | str, word: str) -> list[int]:
    """The numbers after that word in a file of notes."""
    from plait.testing import tasks

    return [int(line.split()[1]) for line in tasks.notes(str(path)) if line.startswith(word) and len(line.split()) == 2]


def let_pass(seconds: float) -> None:
    """A moment chosen at random is the one thing that cannot be waited for by its result."""
    deadline = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= deadline, seconds + 10)


def seeded(name: str) -> random.Random:
    """Random numbers of one test; PLAIT_FAULTS_SEED gives others, and the seed is printed."""
    seed = os.environ.get("PLAIT_FAULTS_SEED", "1")
    print(f"PLAIT_FAULTS_SEED={seed}")
    return random.Random(f"{name} {seed}")


def in_processes(workers: int = 2, *, options: dict | None = None, **config):
    """A run in this process, on the process executor, that leaves no file."""
    import plait

    executor = plait.ProcessPoolExecutor(max_workers=workers, **(options or {}))
    return plait.load(plait.Config(executors=[executor], **{"initialize_logging": False, "progress": False, **config}))


class Terminal:
    """A program on a terminal of its own: what is typed reaches its whole foreground group, as Ctrl-C does."""

    def __init__(self, body: str, *arguments: str) -> None:
        import pty

        self._master, slave = pty.openpty()
        script = Path(f"terminal{len(list(Path.cwd().glob('terminal*.py')))}.py").absolute()
        script.write_text(PREAMBLE + textwrap.dedent(body))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, str(script), *arguments],
            env={**os.environ, "PYTHON_COLORS": "0"}, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        )  # fmt: skip
        self._name = os.ttyname(slave)
        os.close(slave)
        self._text = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            while data := os.read(self._master, 65536):
                self._text += data

    def text(self) -> str:
        return self._text.decode(errors="replace")

    def ctrl_c(self) -> None:
        os.write(self._master, b"\x03")

    def wait(self, timeout_s: float) -> int:
        wait_until(lambda: self.process.poll() is not None, timeout_s, self.text)
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for pid in descendants():  # whoever keeps the terminal open keeps the reader
            if self._name in _files(pid):
                os.kill(pid, signal.SIGKILL)
        self._reader.join(5)
        os.close(self._master)


#: Makes standard input the controlling terminal and becomes the program.
_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def _files(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found
