from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from plait.cli import doctor as module
from plait.cli.doctor import BAD, OK, WARN, doctor, environment, examine, orphans
from tests.support import require_linux, wait_until
from tests.unit.cli.test_blocks import run
from tests.unit.cli.test_lost_jobs import leave, systems  # noqa: F401 - a fixture


def checks(run_dir):
    return {check.what: check for check in environment(str(run_dir))}


def answer(capsys, run_dir, *, fix=False):
    code = doctor(str(run_dir), fix=fix, as_json=True)
    return json.loads(capsys.readouterr().out), code


# ------------------------------------------------------------------ the machine
def test_a_machine_that_has_what_is_needed(tmp_path):
    found = checks(tmp_path)
    assert set(found) == {"plait", "ZeroMQ", "open files", "addresses", "run_dir", "batch systems"}
    assert found["plait"].state == found["ZeroMQ"].state == found["run_dir"].state == OK


def test_few_open_files_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 4096))
    check = checks(tmp_path)["open files"]
    assert (check.state, check.hint) == (WARN, "ulimit -n 4096")
    assert "about 256 nodes" in check.said


def test_commands_of_batch_systems(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "shutil.which",
        {"sbatch": "/bin/sbatch", "squeue": "/bin/squeue", "scancel": "/bin/scancel", "bsub": "/bin/bsub"}.get,
    )
    check = checks(tmp_path)["batch systems"]
    assert (check.state, check.said) == (WARN, "commands of Slurm; LSF without bjobs, bkill")
    monkeypatch.setattr("shutil.which", {}.get)
    assert checks(tmp_path)["batch systems"].said.startswith("no commands of a batch system")


def test_no_address_no_encryption_no_place(tmp_path, monkeypatch):
    monkeypatch.setattr("plait.executors.htex.addresses.host_addresses", list)
    monkeypatch.setattr("plait.executors.htex.link.new_keys", lambda: 1 / 0)
    monkeypatch.setattr("os.access", lambda *_: False)
    found = checks(tmp_path / "not" / "there")
    assert found["addresses"].state == WARN
    assert found["ZeroMQ"].state == found["run_dir"].state == BAD
    assert f"{tmp_path} cannot be written" in found["run_dir"].said


def test_rules_of_the_machine(tmp_path, monkeypatch):
    rules = tmp_path / "plait.toml"
    monkeypatch.setattr("plait.configfile.system.SYSTEM", str(rules))
    rules.write_text("[limits.LocalProvider]\nmax_blocks = 3\n")
    assert (checks(tmp_path)["rules"].state, checks(tmp_path)["rules"].said) == (OK, f"those of this machine: {rules}")
    rules.write_text("[limit.LocalProvider]\n")
    assert checks(tmp_path)["rules"].state == BAD
    assert "did you mean limits?" in checks(tmp_path)["rules"].said


# ------------------------------------------------------------------ jobs
def test_jobs_of_dead_drivers_are_found_and_with_fix_ended(tmp_path, systems, capsys):  # noqa: F811
    provider = systems()
    leave(run(tmp_path / "000"), provider, 2)
    leave(run(tmp_path / "001", pid=os.getpid()), provider, label="y")
    data, code = answer(capsys, tmp_path)
    assert (code, data["good"], data["dead_runs"]) == (1, False, ["000"])
    assert [(job["block"], job["state"]) for job in data["jobs"]] == [("0", "RUNNING"), ("1", "RUNNING")]
    assert len(provider.unfinished()) == 3
    assert doctor(str(tmp_path), fix=False, as_json=False) == 1
    assert "is RUNNING and its driver is dead; `plait doctor --fix` ends it" in capsys.readouterr().out
    data, code = answer(capsys, tmp_path, fix=True)
    assert (code, [job["cancelled"] for job in data["jobs"]]) == (0, [True, True])
    assert [job.name for job in provider.unfinished()] == ["plait.0123abcd.y.block-0"], "one that lives is left alone"
    assert doctor(str(tmp_path), fix=True, as_json=False) == 0
    assert "no job and no process of a dead driver is left" in capsys.readouterr().out


def test_whether_a_driver_on_another_host_lives_is_not_known(tmp_path, systems, capsys):  # noqa: F811
    leave(run(tmp_path / "000", host="login2"), systems())
    health = examine(str(tmp_path))
    assert (health.jobs, health.elsewhere) == ([], {"login2"})
    doctor(str(tmp_path), fix=False, as_json=False)
    assert (
        "their drivers are on login2, or in a container there; whether they live can be seen there"
        in capsys.readouterr().out
    )


def test_jobs_of_a_run_whose_journal_cannot_be_read_are_told_of(tmp_path, systems, capsys):  # noqa: F811
    (tmp_path / "000" / "journal.plj").mkdir(parents=True)
    leave(tmp_path / "000", systems())
    health = examine(str(tmp_path))
    assert (health.jobs, health.unreadable) == ([], ["000"])
    doctor(str(tmp_path), fix=True, as_json=False)
    assert "`plait blocks 000` shows them" in capsys.readouterr().out


def test_what_could_not_be_ended_is_said(tmp_path, systems, capsys):  # noqa: F811
    provider = systems()
    provider.be_deaf(9)
    leave(run(tmp_path / "000"), provider)
    assert doctor(str(tmp_path), fix=True, as_json=False) == 1
    assert "; it could not be ended" in capsys.readouterr().out


def test_a_job_that_was_ended_is_said(tmp_path, systems, capsys):  # noqa: F811
    leave(run(tmp_path / "000"), systems())
    assert doctor(str(tmp_path), fix=True, as_json=False) == 0
    assert "job 1000 (block 0 of run 000, a) was cancelled" in capsys.readouterr().out


def test_what_is_over_is_no_finding(tmp_path, systems):  # noqa: F811
    provider = systems()
    leave(run(tmp_path / "000"), provider)
    provider.end("block-0")
    assert examine(str(tmp_path)).jobs == []


# ------------------------------------------------------------------ processes
@pytest.fixture
def sleeper():
    require_linux("reads /proc")
    made = []

    def start(name):
        process = subprocess.Popen(
            [sys.executable, "-c", "print(flush=True); import signal; signal.pause()"], env={**os.environ, "JOBNAME": name},
            stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        process.stdout.readline()
        made.append(process)
        return process

    yield start
    for process in made:
        process.kill()
        process.wait()
        process.stdout.close()


def test_processes_of_a_dead_driver_and_no_others(tmp_path, sleeper, capsys):
    dead, other, alien = (
        sleeper(f"{name}.x.block-0.77") for name in ("plait.0123abcd", "plait.89ef0123", "fit.0123abcd")
    )
    run(tmp_path / "000")
    data, code = answer(capsys, tmp_path)
    assert code == 1
    assert [(process["pid"], process["job"]) for process in data["processes"]] == [
        (dead.pid, "plait.0123abcd.x.block-0.77")
    ]
    assert doctor(str(tmp_path), fix=True, as_json=False) == 0
    assert f"process {dead.pid} of plait.0123abcd.x.block-0.77" in capsys.readouterr().out
    wait_until(lambda: dead.poll() is not None)
    assert (other.poll(), alien.poll()) == (None, None)


def test_of_a_driver_that_lives_no_process_is_an_orphan(tmp_path, sleeper):
    sleeper("plait.0123abcd.x.block-0")
    run(tmp_path / "000", pid=os.getpid())
    assert examine(str(tmp_path)).processes == []
    assert list(orphans(set())) == []


def test_a_number_that_is_anothers_by_now_is_not_ended(monkeypatch, sleeper):
    process = sleeper("plait.0123abcd.x.block-0")
    orphan = module.Orphan(process.pid, "plait.0123abcd.y.block-9", "sleep")
    module._end([orphan])
    assert process.poll() is None
    assert orphan.ended is False
