"""Files that a person asked for."""

import os
import threading

import pytest

from plait._util.files import is_replaceable, write_whole


def test_a_file_appears_whole(tmp_path):
    path = tmp_path / "a"
    write_whole(str(path), "one")
    write_whole(str(path), "two \udcfc")
    assert path.read_text("utf-8") == "two \\udcfc"
    assert os.listdir(tmp_path) == ["a"]


def test_a_link_stays_one(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "link").symlink_to("a")
    write_whole(str(tmp_path / "link"), "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_text() == "new"


def test_a_pipe_is_written_to(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read = []
    reader = threading.Thread(target=lambda: read.append(path.read_text()))
    reader.start()
    write_whole(str(path), "text")
    reader.join(10)
    assert read == ["text"]
    assert path.is_fifo()
    path.unlink()


def test_devices_are_not_replaced():
    write_whole(os.devnull, "text")
    assert not os.path.isfile(os.devnull)
    assert not is_replaceable("/dev/stdout")
    assert not is_replaceable("/proc/self/fd/1")


def test_what_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(str(tmp_path / "folder"), "text")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError, match="no"):
        write_whole(str(tmp_path / "a"), "text")
    assert os.listdir(tmp_path) == ["folder"]
