"""The fixture ``fake``: a batch system whose commands are on PATH for the time of a test. Import it into a test module to use it."""

from __future__ import annotations

import os
import tempfile

import pytest

from tests.fakes.scheduler import FakeScheduler


@pytest.fixture
def fake_of(monkeypatch):
    """Makes fake batch systems by their names."""
    made = []
    with tempfile.TemporaryDirectory(prefix="fake-", ignore_cleanup_errors=True) as folder:

        def make(system):
            fake = FakeScheduler(system, f"{folder}/{system}")
            monkeypatch.setenv("PATH", f"{fake.bin}{os.pathsep}{os.environ['PATH']}")
            made.append(fake)
            return fake

        yield make
        for fake in made:
            fake.close()
