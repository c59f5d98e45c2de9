from __future__ import annotations

import subprocess
import sys

from plait._util.allocator import keep_freed_memory
from tests.support import require_linux

PROGRAM = """
import resource
from plait._util.allocator import keep_freed_memory
if {told}:
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    x = [bytearray(b"x" * (1 << 20)) for _ in range(4)]
    del x
before = faults()
for _ in range(50):
    x = [bytearray(b"x" * (1 << 20)) for _ in range(4)]
    del x
print(faults() - before)
"""


def faults(told: bool) -> int:
    return int(subprocess.check_output([sys.executable, "-c", PROGRAM.format(told=told)]))


def test_pages_are_not_fetched_again_and_again():
    require_linux("mallopt of the GNU C library")
    assert faults(told=True) < 10_000
    assert faults(told=True) < faults(told=False) / 2


def test_other_systems_do_as_they_do(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
