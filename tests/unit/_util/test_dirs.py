from __future__ import annotations

import concurrent.futures
import os
import stat
import subprocess
import sys
import tempfile

import pytest

from plait._util import dirs
from plait.errors import ConfigurationError
from tests.support import wait_until


def mode(path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_numbers_follow_each_other(tmp_path):
    base = tmp_path / "a" / "runs"
    assert [dirs.make_numbered_dir(base) for _ in range(3)] == [str(base / n) for n in ("000", "001", "002")]
    assert mode(base) == mode(base / "000") == 0o700


def test_it_follows_the_largest_number(tmp_path):
    for name in ("007", "1000", "0042"):
        (tmp_path / name).mkdir()
    assert dirs.make_numbered_dir(tmp_path) == str(tmp_path / "1001")


def test_strange_names_are_passed_over(tmp_path):
    for name in ("7", "run012", "003.bak", "latest", "20261122", "-01", "٠٠٩", "00 5"):
        (tmp_path / name).mkdir()
    assert dirs.make_numbered_dir(tmp_path) == str(tmp_path / "000")


def test_a_file_with_a_number_is_not_touched(tmp_path):
    (tmp_path / "004").write_text("mine")
    assert dirs.make_numbered_dir(tmp_path) == str(tmp_path / "005")


def test_it_goes_on_when_another_was_faster(tmp_path, monkeypatch):
    for name in ("000", "001"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(os, "listdir", lambda _: [])  # as it was before the other one
    assert dirs.make_numbered_dir(tmp_path) == str(tmp_path / "002")


def test_processes_and_threads_get_different_ones(tmp_path):
    code = "import sys; from plait._util import dirs; sys.stdin.read(1); [print(dirs.make_numbered_dir(sys.argv[1])) for _ in range(30)]"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for racer in racers:
        racer.stdin.write("g")
        racer.stdin.flush()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        made = [future.result() for future in [pool.submit(dirs.make_numbered_dir, tmp_path) for _ in range(30)]]
    for racer in racers:
        made += racer.communicate()[0].split()
    assert sorted(map(os.path.basename, made)) == [f"{n:03d}" for n in range(120)]


def test_the_path_does_not_depend_on_where_we_go_later(tmp_path):
    path = dirs.make_numbered_dir("runs")
    assert path == os.path.join(os.getcwd(), "runs", "000")


@pytest.mark.parametrize("base", ["file", "file/below"])
def test_what_cannot_be_made_is_said(tmp_path, base):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ConfigurationError, match=rf"run_dir='{base}'.*{tmp_path}/{base}.*initialize_logging=False"
    ) as info:
        dirs.make_numbered_dir(base)
    assert isinstance(info.value.__cause__, OSError)


def test_a_folder_in_which_somebody_still_writes(tmp_path):
    folder = tmp_path / "jobs"
    folder.mkdir()
    line = "for n in $(seq 400); do { mkdir -p jobs && echo x > jobs/$n; } 2>/dev/null; done"
    with subprocess.Popen(["bash", "-c", line]) as writer:
        wait_until(lambda: any(folder.iterdir()))
        dirs.remove_busy_dir(str(folder), 0.0)  # once: it may be there again
        writer.wait(20)
        dirs.remove_busy_dir(str(folder))
    assert not folder.exists()
    dirs.remove_busy_dir(str(folder))


def test_a_folder_that_cannot_be_removed_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(dirs.shutil, "rmtree", lambda *_, **__: None)
    dirs.remove_busy_dir(str(tmp_path), 0.05)
    assert tmp_path.exists()


def test_a_private_folder():
    path = dirs.private_temp_dir()
    try:
        assert os.path.dirname(path) == os.path.realpath(tempfile.gettempdir())
        assert os.path.basename(path).startswith("plait-")
        assert mode(path) == 0o700
        assert os.listdir(path) == []
    finally:
        os.rmdir(path)


def test_a_private_folder_is_short_enough_for_sockets(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    path = dirs.private_temp_dir()
    try:
        assert len(path) < 90
        assert mode(path) == 0o700
    finally:
        os.rmdir(path)
