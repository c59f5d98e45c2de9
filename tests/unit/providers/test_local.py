from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys

import pytest

from plait._util import procs
from plait.errors import BadLauncher, ConfigurationError, ScriptPathError
from plait.launchers import SimpleLauncher, SingleNodeLauncher
from plait.model.jobs import JobState
from plait.providers import LocalProvider
from tests.support import wait_until


@pytest.fixture
def provider(tmp_path):
    provider = LocalProvider(launcher=SimpleLauncher())
    provider.script_dir = str(tmp_path / "scripts")
    yield provider
    provider.cancel(list(provider.resources))


def status_of(provider, job):
    (status,) = provider.status([job])
    return status


def ended(provider, job):
    return wait_until(lambda: (status := status_of(provider, job)).terminal and status)


def numbers_in(path, count):
    """Process numbers that a script wrote, once all are there."""
    return wait_until(
        lambda: path.exists() and len(lines := path.read_text().splitlines()) >= count and [int(x) for x in lines]
    )


def test_making_one_does_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    provider = LocalProvider()
    assert os.listdir(tmp_path) == []
    assert provider.script_dir is None
    assert isinstance(provider.launcher, SingleNodeLauncher)
    assert (provider.init_blocks, provider.min_blocks, provider.max_blocks, provider.nodes_per_block) == (1, 0, 1, 1)
    assert (provider.parallelism, provider.cmd_timeout, provider.worker_init) == (1, 30, "")


@pytest.mark.parametrize("launcher", ["srun", SimpleLauncher, 3])
def test_what_is_no_launcher_is_refused(launcher):
    with pytest.raises(BadLauncher, match="launcher=.*expected a plait.launchers.Launcher") as info:
        LocalProvider(launcher=launcher)
    assert isinstance(info.value, TypeError)
    assert ("with parentheses" in str(info.value)) == (launcher is SimpleLauncher)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cmd_timeout": 0},
        {"cmd_timeout": "1"},
        {"cmd_timeout": float("nan")},
        {"cmd_timeout": 1e30},
        {"worker_init": ["a"]},
        {"worker_init": "a\0"},
    ],
)
def test_wrong_values_are_named(wrong):
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=rf"LocalProvider\({name}="):
        LocalProvider(**wrong)


def test_its_text_can_be_written_into_a_configuration():
    text = repr(LocalProvider(max_blocks=3, worker_init="module load x"))
    again = eval(text, {"LocalProvider": LocalProvider, "SingleNodeLauncher": SingleNodeLauncher})
    assert repr(again) == text


# ------------------------------------------------------------------ what a job leaves behind
def test_script_output_and_exit_code_are_files(provider, tmp_path):
    job = provider.submit("echo to out; echo to err >&2; exit 3", 1, "plait.x.block-0")
    status = ended(provider, job)
    assert (status.state, status.exit_code) == (JobState.FAILED, 3)
    assert status.message == "its script ended with exit code 3"
    assert (status.stdout, status.stderr) == ("to out\n", "to err\n")
    files = sorted(os.listdir(tmp_path / "scripts"))
    assert [name.rpartition(".")[2] for name in files] == ["ec", "err", "out", "sh"]
    assert all(name.startswith("plait.x.block-0.") for name in files)
    assert (tmp_path / "scripts" / files[0]).read_text() == "3\n"


def test_jobs_of_one_name_have_files_of_their_own(provider, tmp_path):
    for _ in range(2):
        ended(provider, provider.submit("true", 1, "same"))
    assert len(os.listdir(tmp_path / "scripts")) == 8


def test_a_name_with_a_slash_is_no_folder(provider, tmp_path):
    assert ended(provider, provider.submit("true", 1, "a/../b c")).state == JobState.COMPLETED
    assert all(name.startswith("a_.._b_c.") for name in os.listdir(tmp_path / "scripts"))


def test_worker_init_comes_first_and_its_variables_are_seen(tmp_path):
    provider = LocalProvider(worker_init="export GREETING=hello", launcher=SingleNodeLauncher(debug=False))
    provider.script_dir = str(tmp_path)
    status = ended(provider, provider.submit('echo "$GREETING from $JOBNAME"', 1, "it's me"))
    assert status.stdout == "hello from it's me\n"


def test_a_worker_init_that_exits_is_a_failed_job(tmp_path):
    provider = LocalProvider(worker_init="exit 9")
    provider.script_dir = str(tmp_path)
    assert ended(provider, provider.submit("true", 1)).exit_code == 9


def test_as_many_copies_as_nodes(tmp_path):
    provider = LocalProvider(nodes_per_block=3, launcher=SingleNodeLauncher(debug=False))
    provider.script_dir = str(tmp_path)
    assert ended(provider, provider.submit("echo it", 1)).stdout == "it\n" * 3


def test_without_a_folder_it_makes_one(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    provider = LocalProvider()
    ended(provider, provider.submit("true", 1))
    assert provider.script_dir.startswith(str(tmp_path))


def test_a_folder_that_cannot_be_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    provider = LocalProvider()
    provider.script_dir = str(tmp_path / "file" / "below")
    with pytest.raises(ScriptPathError, match="file/below"):
        provider.submit("true", 1)


# ------------------------------------------------------------------ processes
def test_a_job_has_a_session_of_its_own_and_no_input(provider):
    status = ended(provider, provider.submit("ps -o sid= -p $$; echo $$; cat", 1))
    session, leader = status.stdout.split()
    assert session == leader
    assert int(session) != os.getsid(0)


def test_it_does_not_inherit_descriptors(provider, tmp_path):
    with open(tmp_path / "secret", "w") as file:
        os.set_inheritable(file.fileno(), True)
        status = ended(
            provider, provider.submit(f"ls -l /proc/$$/fd | grep -c secret; ls /proc/$$/fd/{file.fileno()}", 1)
        )
    assert status.stdout == "0\n"


def test_cancel_ends_everything_in_the_session(provider, tmp_path):
    pids = tmp_path / "pids"
    script = f"sleep 600 & echo $! >>{pids}; (sleep 600 & echo $! >>{pids}; wait) & echo $$ >>{pids}; wait"
    job = provider.submit(script, 1)
    started = numbers_in(pids, 3)
    assert provider.cancel([job]) == [True]
    assert not [pid for pid in started if procs.is_alive(pid)]
    status = status_of(provider, job)
    assert (status.state, status.message) == (JobState.CANCELLED, "it was cancelled")


def test_what_ignores_sigterm_is_killed(provider, tmp_path, monkeypatch):
    monkeypatch.setattr("plait.providers.local.GRACE_S", 0.1)
    pids = tmp_path / "pids"
    job = provider.submit(f"trap '' TERM; sleep 600 & echo $! >>{pids}; echo $$ >>{pids}; while :; do wait; done", 1)
    started = numbers_in(pids, 2)
    assert provider.cancel([job]) == [True]
    assert not [pid for pid in started if procs.is_alive(pid)]
    assert status_of(provider, job).exit_code == -signal.SIGKILL


def test_what_cleans_up_has_the_time_for_that(provider, tmp_path):
    ready, cleaned = tmp_path / "ready", tmp_path / "cleaned"
    job = provider.submit(f"trap 'touch {cleaned}; exit 0' TERM; touch {ready}; sleep 600 & wait", 1)
    wait_until(ready.exists)
    provider.cancel([job])
    assert cleaned.exists()


def test_times_to_leave_run_at_once(provider, tmp_path, monkeypatch):
    """Four jobs that ignore SIGTERM take one grace period to end, not four."""
    import time

    monkeypatch.setattr("plait.providers.local.GRACE_S", 1.0)
    pids = tmp_path / "pids"
    jobs = [
        provider.submit(f"trap '' TERM; echo $$ >>{pids}; while :; do read -t 600 <> <(:); done", 1) for _ in range(4)
    ]
    started = numbers_in(pids, 4)
    begin = time.monotonic()
    assert provider.cancel(jobs) == [True] * 4
    assert time.monotonic() - begin < 3.5
    assert not [pid for pid in started if procs.is_alive(pid)]


def test_what_a_job_leaves_behind_is_ended_too(provider, tmp_path):
    pids = tmp_path / "pids"
    job = provider.submit(f"sleep 600 & echo $! >>{pids}; exit 0", 1)
    (left,) = numbers_in(pids, 1)
    assert ended(provider, job).state == JobState.COMPLETED
    assert not procs.is_alive(left)


def test_a_job_that_is_killed_says_by_what(provider, tmp_path):
    job = provider.submit("kill -9 $$", 1)
    status = ended(provider, job)
    assert (status.state, status.exit_code, status.message) == (JobState.FAILED, -9, "its script was ended by SIGKILL")
    (code,) = [name for name in os.listdir(tmp_path / "scripts") if name.endswith(".ec")]
    assert (tmp_path / "scripts" / code).read_text() == "137\n"


def test_a_job_that_ended_before_it_was_cancelled_ended_by_itself(provider):
    job = provider.submit("exit 3", 1)
    wait_until(lambda: not procs.is_alive(int(job)))
    assert provider.cancel([job]) == [True]
    assert status_of(provider, job).state == JobState.FAILED


def test_a_job_that_runs_is_seen_where_no_file_can_be_opened(provider):
    """It was taken for ended, and its processes with it."""
    job = provider.submit("sleep 1000", 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        status = status_of(provider, job)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert status.state == JobState.RUNNING


def test_an_exit_status_that_somebody_else_took_is_read_from_its_file(provider):
    """A program that handles SIGCHLD by waiting for whatever has ended."""
    job = provider.submit("exit 3", 1)
    wait_until(lambda: not procs.is_alive(int(job)))
    os.waitpid(int(job), 0)
    assert ended(provider, job).exit_code == 3


def test_after_the_driver_was_killed_the_exit_code_is_still_written(tmp_path):
    program = f"""
import os, signal
from plait.providers import LocalProvider
provider = LocalProvider()
provider.script_dir = {str(tmp_path)!r}
provider.submit("while ! test -e {tmp_path}/go; do read -t 0.01 <> <(:); done; exit 5", 1)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGKILL
    (tmp_path / "go").touch()
    (code,) = wait_until(lambda: list(tmp_path.glob("*.ec")))
    assert wait_until(code.read_text) == "5\n"
