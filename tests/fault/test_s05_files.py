"""S05: files with keys are their owner's alone, whatever was prepared in their place and whatever the umask."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import plait
from plait.testing import tasks
from tests.fault.pilot import pilot_jobs, up
from tests.support import require_linux, wait_until

echo = plait.python_app(tasks.echo)
RUN = Path("runs/000")
BLOCKS = RUN / "HighThroughputExecutor/blocks"


@pytest.fixture
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path) -> int:
    return os.lstat(path).st_mode & 0o777


@pytest.fixture
def without_blocks(open_umask):
    """A run whose executor waits for its first block."""
    require_linux("reads /proc")
    options = {"blocks": 0, "provider": {"max_blocks": 1}}
    with pilot_jobs(max_losses=0, strategy="none", initialize_logging=True, run_dir="runs", options=options) as kernel:
        htex = next(each for each in kernel.executors.values() if hasattr(each, "connected_managers"))
        wait_until(BLOCKS.exists, 20)
        wait_until(lambda: htex._keeper is not None, 20)
        yield kernel, htex


@pytest.mark.parametrize("what", ["nothing", "link", "dangling link", "open file", "pipe"])
def test_what_was_prepared_in_place_of_the_key_file_is_not_used(what, without_blocks, tmp_path):
    kernel, htex = without_blocks
    target = tmp_path / "target"
    place = BLOCKS / "0.json"
    if what == "link":
        target.write_bytes(b"precious")
        place.symlink_to(target)
    elif what == "dangling link":
        place.symlink_to(target)
    elif what == "open file":
        place.touch(mode=0o666)
        target.hardlink_to(place)
    elif what == "pipe":
        os.mkfifo(place, 0o666)
    htex.scale_out(1)
    up(kernel)
    assert echo(1).result(30) == 1
    assert mode(place) == 0o600
    assert place.is_file()
    assert not place.is_symlink()
    assert place.stat().st_nlink == 1
    if target.exists():
        assert target.read_bytes() == (b"precious" if what == "link" else b"")
    assert mode(BLOCKS) == mode(RUN) == mode(RUN / "HighThroughputExecutor") == 0o700
