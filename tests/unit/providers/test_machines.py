"""Blocks of virtual machines: the script that a machine runs, run for real here, and what follows from machines and their consoles."""

from __future__ import annotations

import math
import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import ConfigurationError
from plait.model.jobs import JobState
from plait.providers.machines import (
    Machine,
    MachineProvider,
    checked_id,
    checked_path,
    exit_code,
    spoken,
    startup_script,
)


class Cloud(MachineProvider):
    SYSTEM = "cloud"

    def __init__(self, walltime="01:00:00", *, linger=False, worker_init=""):
        super().__init__(2, 1, 0, 9, 1, worker_init, None, walltime, linger, 5)
        self.machines, self.consoles, self.ended, self.now = {}, {}, [], 1000.0
        self._clock = lambda: self.now

    def _begin(self, job, command):
        self.script = self._script(job, command)
        self.machines[job.id] = [Machine("a", JobState.PENDING, "it is made"), Machine("b", JobState.PENDING)]

    def _machines(self, jobs):
        return {job.id: self.machines[job.id] for job in jobs if job.id in self.machines}

    def _console(self, job, machine):
        text = self.consoles[machine.id]
        if isinstance(text, Exception):
            raise text
        return text.replace("JOB", job.id)

    def _end(self, jobs):
        self.ended += [job.id for job in jobs]

    def _refused(self, error):
        return False


@pytest.fixture
def cloud(tmp_path):
    cloud = Cloud()
    cloud.script_dir = str(tmp_path)
    return cloud


def state(cloud, job):
    (status,) = cloud.status([job])
    return status


def off(cloud, job, **consoles):
    cloud.machines[job] = [Machine("a", JobState.COMPLETED), Machine("b", JobState.COMPLETED)]
    cloud.consoles = consoles


# ------------------------------------------------------------------ how a block is
def test_it_runs_when_one_of_its_machines_does(cloud):
    job = cloud.submit("x", 1)
    assert (state(cloud, job).state, state(cloud, job).message) == (JobState.PENDING, "it is made")
    cloud.machines[job][1] = Machine("b", JobState.RUNNING)
    assert state(cloud, job).state == JobState.RUNNING
    cloud.machines[job][0] = Machine("a", JobState.COMPLETED)
    assert state(cloud, job).state == JobState.RUNNING


def test_how_it_ended_is_on_its_consoles(cloud):
    job = cloud.submit("x", 1)
    off(cloud, job, a="boot\nplait-begin JOB\nfine\nplait-end JOB 0\n", b="plait-begin JOB\nbad\nplait-end JOB 3\noff")
    status = state(cloud, job)
    assert (status.state, status.exit_code, status.message) == (
        JobState.FAILED,
        3,
        "its command ended with exit code 3",
    )
    assert status.stdout == "fine\n\nbad\n"


def test_all_well_is_completed(cloud):
    job = cloud.submit("x", 1)
    off(cloud, job, a="plait-end JOB 0\n", b="plait-end JOB 0\r\n")
    assert (state(cloud, job).state, state(cloud, job).exit_code) == (JobState.COMPLETED, 0)


def test_a_console_that_says_nothing_is_no_failure(cloud):
    job = cloud.submit("x", 1)
    off(cloud, job, a="boot", b=OSError("not there"))
    status = state(cloud, job)
    assert (status.state, status.message) == (
        JobState.COMPLETED,
        "its machines are off, and nothing says how its command ended",
    )


def test_what_the_service_says_of_an_end_counts(cloud):
    job = cloud.submit("x", 1)
    cloud.machines[job] = [Machine("a", JobState.COMPLETED), Machine("b", JobState.TIMEOUT, "taken")]
    assert (state(cloud, job).state, state(cloud, job).message) == (JobState.TIMEOUT, "taken")


def test_a_walltime_is_an_end_of_its_own(cloud):
    job = cloud.submit("x", 1)
    cloud.machines[job] = [Machine("a", JobState.RUNNING)]
    assert state(cloud, job).state == JobState.RUNNING
    cloud.now += 3601
    off(cloud, job, a="", b="")
    assert state(cloud, job).state == JobState.TIMEOUT


def test_a_machine_that_does_not_end_itself_is_ended(cloud):
    job = cloud.submit("x", 1)
    cloud.machines[job] = [Machine("a", JobState.RUNNING)]
    assert state(cloud, job).state == JobState.RUNNING
    cloud.now += 3600 + 299
    assert state(cloud, job).state == JobState.RUNNING
    cloud.now += 2
    assert state(cloud, job).state == JobState.TIMEOUT
    assert cloud.ended == [job]


def test_a_script_that_is_too_long_is_refused(tmp_path):
    cloud = Cloud(worker_init="# " + "x" * 17000)
    cloud.script_dir = str(tmp_path)
    with pytest.raises(ConfigurationError, match="16384 are allowed; put a part of worker_init into the image"):
        cloud._script(cloud._new_job("n"), "x")


@pytest.mark.parametrize("wrong", [{"walltime": 0}, {"linger": 1}])
def test_wrong_values_are_named(wrong):
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=rf"Cloud\({name}="):
        Cloud(**wrong)


def test_no_walltime_is_for_ever():
    assert Cloud(None)._walltime_s == math.inf


@pytest.mark.parametrize("wrong", ["", "a b", "a\nb", 3, None, "a;b", "-a"])
def test_names_of_things(wrong):
    assert checked_id("P", "x", "projects/a-b_c.d:e@f+g") == "projects/a-b_c.d:e@f+g"
    with pytest.raises(ConfigurationError, match=r"P\(x="):
        checked_id("P", "x", wrong)


@pytest.mark.parametrize("wrong", ["", 3, ["a"], "a\0b"])
def test_paths_of_files(wrong, tmp_path):
    assert [checked_path("P", "x", path) for path in (None, "~/key", tmp_path)] == [None, "~/key", tmp_path]
    with pytest.raises(ConfigurationError, match=r"P\(x=.*expected the path of a file"):
        checked_path("P", "x", wrong)


# ------------------------------------------------------------------ the script
@pytest.fixture
def boot(tmp_path):
    """Runs a machine's script here, with commands that say how they were called instead of doing it."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("shutdown", "python3"):
        (tools / name).write_text(
            f'#!/bin/bash\necho "{name} $*" >>{tmp_path}/called\nexit $(cat {tmp_path}/{name}.code 2>/dev/null || echo 0)\n'
        )
        (tools / name).chmod(0o755)

    def boot(
        command, worker_init="", walltime_s=3600.0, *, linger=False, name="plait.run.cpu.block-0", version="1.2.3"
    ):
        text = startup_script(
            "job-1", name, command, worker_init, walltime_s, linger=linger, console=str(tmp_path / "console"),
            log=str(tmp_path / "log"), version=version,
        )  # fmt: skip
        (tmp_path / "script").write_text(text)
        env = {"PATH": f"{tools}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
        subprocess.run(["bash", str(tmp_path / "script")], env=env, check=False, timeout=60)
        console = (tmp_path / "console").read_text()
        called = (tmp_path / "called").read_text().splitlines() if (tmp_path / "called").exists() else []
        return exit_code("job-1", console), spoken("job-1", console), called

    return boot


def test_a_machine_runs_the_command_and_switches_itself_off(boot):
    code, said, called = boot("cat <<'END'\nout of $JOBNAME\nEND\necho $JOBNAME $A >&2\nexit 3", "export A=1")
    assert (code, said) == (3, "out of $JOBNAME\nplait.run.cpu.block-0 1\n")
    assert called[0] == "shutdown -P +60"
    assert called[-1] == "shutdown -P now"


def test_plait_is_installed_where_it_is_not(boot, tmp_path):
    _, _, called = boot("true")
    assert not any("pip" in line for line in called), "it is there already"
    (tmp_path / "called").unlink()
    (tmp_path / "python3.code").write_text("1")
    code, _, called = boot("touch never")
    assert "python3 -m pip install --quiet plait==1.2.3" in called
    assert code == 127
    assert called[-1] == "shutdown -P now"


def test_a_machine_that_lingers_is_not_switched_off(boot):
    code, _, called = boot("exit 0", linger=True, version="")
    assert (code, called) == (0, [])


def test_whatever_the_command_does_to_its_shell_the_machine_goes_off(boot):
    for command in (
        "trap - EXIT; exit 5",
        "exec false",
        "kill -TERM $BASHPID",
        "shutdown() { :; }; exit 7",
        "set -e; false; true",
    ):
        code, _, called = boot(command, version="")
        assert code, command
        assert called[-1] == "shutdown -P now"


def test_a_worker_init_that_fails_ends_the_machine(boot):
    code, _, called = boot("echo never", "echo before; exit 9", version="")
    assert code == 9
    assert called[-1] == "shutdown -P now"


def test_a_machine_that_is_switched_off_in_the_middle_did_not_end_well(boot):
    code, _, _ = boot("kill -TERM $$", version="")
    assert code == 143


def test_what_tasks_write_is_not_taken_for_the_end(boot):
    code, _, _ = boot("echo plait-end job-1 0; echo 'plait-end other 0'; exit 4", version="")
    assert code == 4


@given(name=st.text(max_size=100), walltime_s=st.none() | st.floats(1, 1e7))
@settings(max_examples=100)
def test_no_name_adds_a_line(name, walltime_s):
    """S14: a script has as many lines whatever its names are, and the shell reads the name as one word."""
    plain = startup_script("j", "x", "c", "w", walltime_s, linger=False, version="1.0")
    text = startup_script("j", name, "c", "w", walltime_s, linger=False, version="1.0")
    assert len(text.splitlines()) == len(plain.splitlines())
    (line,) = [line for line in text.splitlines() if line.startswith("export JOBNAME=")]
    assert [other for other in text.splitlines() if other != line] == [
        other for other in plain.splitlines() if not other.startswith("export JOBNAME=")
    ]
    import shlex

    assert len(shlex.split(line)) == 2


def test_a_version_that_is_none_is_refused():
    with pytest.raises(ConfigurationError):
        startup_script("j", "n", "c", "", None, linger=False, version="1'; reboot")


@given(st.text(max_size=300))
@settings(max_examples=50)
def test_any_console_can_be_read(text):
    assert exit_code("j", text) is None
    assert isinstance(spoken("j", text), str)
