"""F39: shutdown while large, unsendable and many things are queued and on their way: in time, and all futures end."""

from __future__ import annotations

import threading
import time

import pytest

import plait
from plait.testing import tasks
from tests.fault.lab import all_gone, in_processes
from tests.leaks import descendants
from tests.support import require_linux


class Large:
    """Large, and gives up on the way back."""

    def __init__(self):
        self.data = b"x" * 3_000_000

    def __setstate__(self, state):
        raise ValueError("not to be rebuilt")


BODIES = {
    "large arguments": lambda number: plait.python_app(len)(bytes([number % 256]) * 3_000_000),
    "large results": lambda number: plait.python_app(bytes)(3_000_000 + number),
    "arguments that cannot be sent": lambda number: plait.python_app(tasks.echo)(
        threading.Lock() if number % 2 else number
    ),
    "arguments that cannot be rebuilt": lambda number: plait.python_app(tasks.echo)(Large() if number % 3 else number),
    "results that cannot be rebuilt": lambda number: plait.python_app(tasks.make)("CrashesWhenUnpickled", "error"),
    "crashes": lambda number: plait.python_app(tasks.crash)("os._exit"),
    "everything": lambda number: list(BODIES.values())[number % 6](number),
}


@pytest.mark.parametrize("what", BODIES)
def test_shutdown(what):
    require_linux("child subreaper")
    before = descendants()
    with in_processes() as kernel:
        futures = [BODIES[what](number) for number in range(60)]
        begin_s = time.monotonic()
        kernel.cleanup()
        took_s = time.monotonic() - begin_s
        assert all(future.done() for future in futures)
    del futures
    all_gone(before, 1.0)
    assert took_s < 5.0
