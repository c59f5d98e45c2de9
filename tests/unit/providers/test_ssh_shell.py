from __future__ import annotations

import os
import stat

import pytest

from plait.providers.ssh_shell import SshShell
from tests.unit.providers.near import Near


@pytest.fixture
def shell(tmp_path):
    return SshShell(Near(), folder=str(tmp_path / "there"))


@pytest.mark.parametrize(
    "words",
    [["a b"], ["$HOME"], ["`touch canary`"], ["a'b"], ['a"b'], ["a\\b"], ["; touch canary"], ["*"], ["-n", "!x"], [""]],
)
def test_words_arrive_as_they_are(shell, words, tmp_path):
    done = shell.run(["printf", "%s|", *words], timeout_s=10)
    assert done.out == "".join(f"{word}|" for word in words)
    assert not os.path.exists("canary")
    assert "\n" not in shell.connection.lines[-1]  # the C shell takes one line only


def test_variables_input_and_exit_code(shell):
    done = shell.run(["sh", "-c", 'echo "$X"; cat; exit 7'], timeout_s=10, stdin="in", env={"X": "a b"})
    assert (done.out, done.code) == ("a b\nin", 7)
    assert done.argv == ("sh", "-c", 'echo "$X"; cat; exit 7')


def test_a_line_comes_first(shell):
    shell._init = "export GREETING='good day'"
    assert shell.run(["sh", "-c", "echo $GREETING"], timeout_s=10).out == "good day\n"


def test_files(shell, tmp_path):
    folder = str(tmp_path / "a b" / "c'd")
    shell.make_folder(folder)
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    path = f"{folder}/-x $HOME"
    shell.write(path, "text\n'$'\n")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    shell.write(path, "0123456789", executable=True)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    assert shell.read(path) == "0123456789"
    assert shell.read(path, 4) == "6789"
    assert shell.read(f"{path}.no") is None
    shell.remove(path, f"{path}.no")
    assert not os.path.exists(folder)


def test_what_cannot_be_read_now_is_none(shell):
    shell.connection.broken = "no way"
    assert shell.read("/etc/hostname") is None


def test_folders_of_different_runs_do_not_meet(shell, tmp_path, monkeypatch):
    one, other = shell.folder("/run/1"), shell.folder("/run/2")
    assert one != other
    assert one == shell.folder("/run/1")
    assert one.startswith(f"{tmp_path}/there/")
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    assert shell.folder("/run/1") != one


def test_without_a_folder_it_is_in_the_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where lines begin
    assert SshShell(Near()).folder("/run").startswith(f"{tmp_path}/.plait/jobs/")


def test_shared_files_are_where_they_are():
    assert SshShell(Near(), shares_files=True).folder("/run/1") == "/run/1"
