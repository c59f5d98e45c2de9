"""Jobs without a batch system, on this machine: the lines of shell are the real ones."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal

import pytest

from plait._util import procs
from plait.providers import ssh_jobs
from plait.providers.shell import CommandFailed
from plait.providers.ssh_jobs import Look
from plait.providers.ssh_shell import SshShell
from tests.support import require_linux, wait_until
from tests.unit.providers.near import Near


@pytest.fixture
def shell():
    require_linux("jobs are found in /proc")
    return SshShell(Near())


@pytest.fixture
def begin(shell, tmp_path):
    names = []

    def begin(command, name="job.1", folder="a 'b'", cwd=""):
        path = str(tmp_path / folder / name)
        ssh_jobs.start(shell, name, path, ssh_jobs.script(name, path, cwd, "", command))
        names.append(name)
        return path

    yield begin
    ssh_jobs.end(shell, names, 10, 0.0)


@contextlib.contextmanager
def umask(mask):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def how(shell, path):
    return ssh_jobs.look(shell, [path], 10)[path]


def text(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def test_a_job_that_ends(shell, begin, tmp_path):
    path = begin('echo out; echo err >&2; echo "$JOBNAME in $PWD"; exit 3', cwd=str(tmp_path))
    assert wait_until(lambda: how(shell, path).is_over and how(shell, path)) == Look("ended", 3)
    assert text(f"{path}.out") == f"out\njob.1 in {tmp_path}\n"
    assert text(f"{path}.err") == "err\n"
    ssh_jobs.tidy(shell, [path])
    assert not os.path.exists(os.path.dirname(path))


def test_a_folder_that_is_not_there_ends_it(shell, begin):
    path = begin("true", cwd="/no/such/folder")
    assert wait_until(lambda: how(shell, path).is_over and how(shell, path)) == Look("ended", 1)


def test_a_job_begins_once(shell, begin, tmp_path):
    """However often it is begun, as when the answer was lost."""
    path = begin(f"echo begun >> {tmp_path}/notes; sleep 600")
    begin("echo again >> notes")
    wait_until(lambda: os.path.exists(tmp_path / "notes"))
    assert how(shell, path) == Look("runs")
    assert text(tmp_path / "notes") == "begun\n"


def test_all_processes_end_wherever_they_went(shell, begin, tmp_path):
    path = begin(f"setsid sh -c 'trap \"\" TERM; echo $$ > {tmp_path}/pid; while :; do sleep 600; done' & sleep 601")
    wait_until(lambda: os.path.exists(tmp_path / "pid") and text(tmp_path / "pid").strip())
    assert how(shell, path) == Look("runs")
    ssh_jobs.end(shell, ["job.1"], 10, 0.2)
    wait_until(lambda: not procs.is_alive(int(text(tmp_path / "pid"))))
    assert how(shell, path).is_over


def test_a_script_that_is_at_no_command_ends_too(shell, begin, tmp_path):
    """It went on with its next line after its job had been ended."""
    os.mkfifo(tmp_path / "fifo")
    path = begin(f"exec 3<>{tmp_path}/fifo; echo $$ > {tmp_path}/pid; read -r line <&3; sleep 600")
    wait_until(lambda: os.path.exists(tmp_path / "pid") and text(tmp_path / "pid").strip())
    ssh_jobs.end(shell, ["job.1"], 10, 1.0)
    pid = int(text(tmp_path / "pid"))
    try:
        assert not procs.is_alive(pid)
    finally:
        procs.end_tree(pid)
        os.unlink(tmp_path / "fifo")
    assert how(shell, path).is_over


def test_one_that_is_not_seen_for_a_moment_is_looked_for_again(shell, begin, tmp_path, monkeypatch):
    """The system shows no environment of a process that is just becoming another program."""
    begin(f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 600; done")
    wait_until(lambda: os.path.exists(tmp_path / "pid") and text(tmp_path / "pid").strip())
    grep = tmp_path / "bin" / "grep"
    grep.parent.mkdir()
    hidden = f'echo >> {tmp_path}/looks; [ "$(wc -l < {tmp_path}/looks)" = 2 ] && exit 1'  # of the two that there are without a time to leave
    grep.write_text(f'#!/bin/sh\n{hidden}\nexec {shutil.which("grep")} "$@"\n')
    grep.chmod(0o755)
    monkeypatch.setenv("PATH", f"{grep.parent}:{os.environ['PATH']}")
    ssh_jobs.end(shell, ["job.1"], 10, 0.0)
    assert len(text(tmp_path / "looks").splitlines()) > 2
    assert not procs.is_alive(int(text(tmp_path / "pid")))


def test_jobs_with_names_that_are_alike_are_not_ended(shell, begin):
    one, other = begin("sleep 600", "job.1"), begin("sleep 600", "job.10")
    third = begin("sleep 600", "jobx1")
    ssh_jobs.end(shell, ["job.1"], 10, 1.0)
    assert [look.how for look in ssh_jobs.look(shell, [one, other, third], 10).values()] == ["ended", "runs", "runs"]


def test_a_script_that_is_killed_says_nothing(shell, begin):
    path = begin("sleep 600")
    wait_until(lambda: os.path.exists(f"{path}.pid") and text(f"{path}.pid").strip())
    os.kill(int(text(f"{path}.pid").split()[0]), signal.SIGKILL)
    wait_until(lambda: how(shell, path) == Look("killed"))


def test_without_its_number_a_job_is_looked_for_by_its_script(shell, begin):
    """The host went down just then, or its disk was full: it was starting for ever."""
    path = begin("sleep 600")
    wait_until(lambda: how(shell, path) == Look("runs"))
    pid = int(text(f"{path}.pid").split()[0])
    os.truncate(f"{path}.pid", 0)
    assert how(shell, path) == Look("starting")
    os.utime(f"{path}.lock", (1.0, 1.0))
    assert how(shell, path) == Look("starting")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: how(shell, path) == Look("killed"))


def test_half_a_script_is_not_run(shell, tmp_path):
    """When a connection breaks what it brings ends as a whole script does."""

    class Short(Near):
        def run(self, command, *, stdin="", **options):
            return super().run(command, stdin=stdin[:-9], **options)

    with pytest.raises(CommandFailed, match="did not come whole"):
        ssh_jobs.start(SshShell(Short()), "job", str(tmp_path / "job"), f"touch {tmp_path}/half\ntouch x y z")
    assert os.listdir(tmp_path) == []


def test_tasks_have_the_umask_of_their_user_and_files_of_jobs_are_private(begin, tmp_path):
    with umask(0o022):
        path = begin(f"touch {tmp_path}/result; sleep 600")
    wait_until(lambda: os.path.exists(tmp_path / "result"))
    assert (tmp_path / "result").stat().st_mode & 0o777 == 0o644
    assert {os.stat(f"{path}.{ending}").st_mode & 0o077 for ending in ("sh", "out", "err", "pid")} == {0}


def test_a_number_that_another_process_has_now(shell, begin):
    path = begin("sleep 600")
    wait_until(lambda: os.path.exists(f"{path}.pid") and text(f"{path}.pid").strip())
    with open(f"{path}.pid", "w", encoding="utf-8") as file:
        file.write(f"{os.getpid()} 1\n")
    assert how(shell, path) == Look("killed")


def test_what_was_never_there(shell, tmp_path):
    assert how(shell, str(tmp_path / "no" / "job")) == Look("absent")
    ssh_jobs.end(shell, ["no.such.job"], 10)
    ssh_jobs.tidy(shell, [str(tmp_path / "no" / "job")])


def test_a_host_that_does_not_take_it(shell, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CommandFailed) as info:
        ssh_jobs.start(shell, "job", str(tmp_path / "file" / "job"), "true")
    assert info.value.code


@pytest.mark.parametrize("out", ["", "job.1\n", "other runs\n", "job.1 ended x\n"])
def test_half_an_answer_is_none(out, tmp_path):
    class Talker(Near):
        def run(self, command, **options):
            return super().run(f"printf '{out}'", **options)

    with pytest.raises(ValueError, match=r"some of its jobs|invalid literal"):
        ssh_jobs.look(SshShell(Talker()), [str(tmp_path / "job.1")], 10)
