from __future__ import annotations

import time

from plait.clock import SystemClock


def test_the_clock_of_this_machine():
    clock = SystemClock()
    before, wall = time.monotonic(), time.time()
    assert before <= clock.monotonic() <= time.monotonic()
    assert abs(clock.wall_time() - wall) < 60
