"""Jobs of `SlurmProvider` on a real Slurm: how they end, wait, and come back, and what its commands do when they are in trouble."""

from __future__ import annotations

import os
import shutil
import sys

import pytest

from plait.errors import SubmitException
from plait.model.jobs import JobState
from plait.providers import SlurmProvider
from plait.providers.tickets import recall
from tests.support import wait_until

SLEEP = "sleep 600"


@pytest.fixture
def make(tmp_path):
    """Providers whose jobs share nodes; what is left of their jobs at the end is cancelled."""
    made = []

    def make(**parameters):
        provider = SlurmProvider(**{"exclusive": False, "max_blocks": 20, "walltime": "00:05:00", **parameters})
        provider.script_dir = str(tmp_path / "jobs")
        made.append(provider)
        return provider

    yield make
    for provider in made:
        provider.cancel(list(provider.resources))


def state(provider, job):
    (status,) = provider.status([job])
    return status.state


def wait_for(provider, job, *states, timeout_s=20.0):
    def there():
        (status,) = provider.status([job])
        return status if status.state in states else None

    return wait_until(there, timeout_s, lambda: provider.status([job]))


def number(job):
    return job.partition(";")[0]


def command_in_front(monkeypatch, tmp_path, name, script):
    """Puts a command before Slurm's own in PATH; ``$REAL`` is the real one."""
    folder = tmp_path / "front"
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/bash\nREAL={shutil.which(name)}\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


# ------------------------------------------------------------------ how jobs end
def test_every_end_is_told_as_it_was(slurm, make):
    """At once, because Slurm takes its time to notice some of them: a node that lost its power, a walltime, and a job that gave way."""
    provider, low, urgent = (
        make(),
        make(partition="scavenge"),
        make(partition="urgent", nodes_per_block=3, exclusive=True),
    )
    on_4 = make(scheduler_options="#SBATCH --nodelist=node4\n#SBATCH --no-requeue")
    again_on_4 = make(scheduler_options="#SBATCH --nodelist=node4\n#SBATCH --requeue")
    expired = provider.submit(SLEEP, 1, "plait.expired")
    wait_for(provider, expired, JobState.RUNNING)
    slurm.update(jobid=number(expired), endtime="now")  # looked at every half minute
    lost = on_4.submit(SLEEP, 1, "plait.lost")
    requeued = again_on_4.submit("echo life $SLURM_RESTART_COUNT; sleep 600", 1, "plait.requeued")
    completed, failed = (
        provider.submit("echo out", 1, "plait.ok"),
        provider.submit("echo err >&2; exit 3", 1, "plait.bad"),
    )
    killed = provider.submit("kill -9 $$", 1, "plait.killed")
    by_admin = provider.submit(SLEEP, 1, "plait.cancelled")
    wait_for(on_4, lost, JobState.RUNNING)
    wait_for(again_on_4, requeued, JobState.RUNNING)
    wait_for(provider, by_admin, JobState.RUNNING)
    slurm.crash_node(4)
    slurm.run(["scancel", by_admin])
    status = wait_for(provider, completed, JobState.COMPLETED)
    assert status.exit_code == 0
    assert "out" in status.stdout
    status = wait_for(provider, failed, JobState.FAILED)
    assert status.exit_code == 3
    assert "err" in status.stderr
    status = wait_for(provider, killed, JobState.FAILED)
    assert status.message
    status = wait_for(provider, by_admin, JobState.CANCELLED)
    assert status.message == "somebody cancelled it"
    status = wait_for(on_4, lost, JobState.FAILED, timeout_s=40)
    assert "one of its nodes failed" in status.message
    assert wait_for(again_on_4, requeued, JobState.PENDING).message
    slurm.start_node(4)
    wait_for(again_on_4, requeued, JobState.RUNNING, timeout_s=30)
    wait_until(lambda: "life 1" in (again_on_4.status([requeued])[0].stdout or ""))
    assert again_on_4.cancel([requeued]) == [True]
    gave_way = low.submit(SLEEP, 1, "plait.low")
    wait_for(low, gave_way, JobState.RUNNING)
    status = wait_for(provider, expired, JobState.TIMEOUT, timeout_s=40)
    assert "walltime" in status.message
    slurm.wait_node(4, "idle", "mixed", "allocated")
    urgent.nodes_per_block = 4
    first = urgent.submit(SLEEP, 1, "plait.urgent")
    wait_for(urgent, first, JobState.RUNNING)
    status = wait_for(low, gave_way, JobState.TIMEOUT)
    assert "given to another job" in status.message
    assert urgent.cancel([first]) == [True]
    ends = [
        (provider, completed, 4),
        (provider, failed, 5),
        (on_4, lost, 5),
        (provider, expired, 6),
        (low, gave_way, 6),
    ]
    assert [state(one, job) for one, job, _ in ends] == [end for _, _, end in ends]


# ------------------------------------------------------------------ how jobs wait
def test_jobs_that_wait_for_somebody_are_held_and_say_for_whom(slurm, make):
    """Held by the administrator, and released; asking for what can never be; suspended, and resumed."""
    provider = make(scheduler_options="#SBATCH --begin=now+1hour")
    job = provider.submit(SLEEP, 1)
    status = wait_for(provider, job, JobState.PENDING)
    wait_until(lambda: "its time has not come" in (provider.status([job])[0].message or ""))
    slurm.run(["scontrol", "hold", job])
    status = wait_for(provider, job, JobState.HELD)
    assert status.message == "an administrator holds it (JobHeldAdmin)"
    slurm.run(["scontrol", "release", job])
    wait_for(provider, job, JobState.PENDING)
    too_long = make(partition="short", walltime="20:00:00")
    status = wait_for(too_long, too_long.submit(SLEEP, 1), JobState.HELD)
    assert "longer than the partition allows" in status.message
    running = make()
    job = running.submit(SLEEP, 1)
    wait_for(running, job, JobState.RUNNING)
    slurm.run(["scontrol", "suspend", job])
    assert wait_for(running, job, JobState.HELD).message == "it is suspended"
    slurm.run(["scontrol", "resume", job])
    wait_for(running, job, JobState.RUNNING)
    slurm.run(["scontrol", "requeuehold", job])
    assert "held" in wait_for(running, job, JobState.HELD).message


# ------------------------------------------------------------------ submitting
def test_what_is_asked_for_is_what_slurm_gives(slurm, make, tmp_path):
    """Values as Slurm understood them, and the environment of the command; paths with blanks."""
    provider = make(
        nodes_per_block=2, cores_per_node=2, mem_per_node=1, partition="debug", walltime="90m", exclusive=True,
        worker_init="export GREETING=hello", scheduler_options="#SBATCH --comment=mine",
    )  # fmt: skip
    provider.script_dir = str(tmp_path / "50 %j jobs")
    job = provider.submit("echo $GREETING $PARSL_CORES $PARSL_MEMORY_GB $SLURM_NNODES $JOBNAME", 1, "plait.x.block-0")
    status = wait_for(provider, job, JobState.COMPLETED)
    name = provider.resources[job].name
    assert f"hello 2 1 2 {name}\n" in status.stdout
    told = slurm.run(["scontrol", "show", "job", job])
    assert {
        f"JobName={name}",
        "NumNodes=2",
        "TimeLimit=01:30:00",
        "OverSubscribe=NO",
        "Comment=mine",
        "Partition=debug",
    } <= set(told.split())
    assert "mem=2G" in told  # of both nodes
    assert oct(os.stat(f"{provider.resources[job].path}.sh").st_mode & 0o777) == "0o700"


def two_are_known_and_cancelled(provider):
    ids = provider.submit_many([(SLEEP, 1, f"plait.0123abcd.cpu.block-{n}") for n in range(2)])
    for job in ids:
        wait_for(provider, job, JobState.RUNNING)
    assert provider.cancel(ids) == [True, True]
    for job in ids:
        wait_for(provider, job, JobState.CANCELLED)


@pytest.mark.parametrize("line", ["--job-name=mine", "-J mine", "--comment=mine"])
def test_names_and_comments_of_the_user_do_not_hide_jobs(slurm, make, line):
    """Jobs are known by their names, those of an array by its comment."""
    two_are_known_and_cancelled(make(scheduler_options=f"#SBATCH {line}"))
    wait_until(lambda: slurm.queue() == {}, 20, slurm.queue)


def test_variables_of_the_user_for_slurms_commands_do_not_hide_jobs(slurm, make, monkeypatch):
    """They would have squeue and scancel look into another partition, and give the job another name."""
    for name, value in (
        ("SQUEUE_PARTITION", "short"),
        ("SCANCEL_PARTITION", "short"),
        ("SBATCH_JOB_NAME", "mine"),
        ("SBATCH_COMMENT", "mine"),
    ):
        monkeypatch.setenv(name, value)
    two_are_known_and_cancelled(make(partition="debug"))


def test_a_job_that_slurm_refuses_says_why(slurm, make):
    """Slurm has a failed job afterwards all the same, which is nobody's block."""
    for provider in (make(partition="nowhere"), make(mem_per_node=99999)):
        with pytest.raises(SubmitException) as info:
            provider.submit(SLEEP, 1)
        assert info.value.retcode == 1
        assert provider.resources == {}
    assert "Requested node configuration is not available" in str(info.value)


def test_blocks_as_one_array(slurm, make):
    """Each has its output, its end, and its name; cancelling one leaves the others."""
    provider = make()
    commands = ["echo zero", "exit 3", SLEEP, SLEEP]
    ids = provider.submit_many([(c, 1, f"plait.0123abcd.cpu.block-{n}") for n, c in enumerate(commands)])
    assert len({id_.partition("_")[0] for id_ in ids}) == 1
    assert "zero" in wait_for(provider, ids[0], JobState.COMPLETED).stdout
    assert wait_for(provider, ids[1], JobState.FAILED).exit_code == 3
    wait_for(provider, ids[2], JobState.RUNNING)
    names = [provider.resources[id_].name for id_ in ids]
    assert provider._find(names) == dict(zip(names, ids, strict=True))
    assert provider.cancel([ids[2]]) == [True]
    wait_for(provider, ids[2], JobState.CANCELLED)
    assert state(provider, ids[3]) == JobState.RUNNING


def test_a_driver_inside_a_job_submits_jobs_of_their_own(slurm, make, tmp_path):
    """What Slurm told the driver about its own job is not told to its blocks, whose `srun` would believe it."""
    script = tmp_path / "driver.py"
    script.write_text(
        "from plait.providers import SlurmProvider\n"
        "p = SlurmProvider(exclusive=False, mem_per_node=1)\n"
        f"p.script_dir = {str(tmp_path)!r}\n"
        "print(p.submit('echo got $SLURM_CPUS_PER_TASK:$SLURM_MEM_PER_CPU:$SLURM_MEM_PER_NODE; srun -n1 echo step', 1))\n"
    )
    job = slurm.run(["srun", "-n1", "--cpus-per-task=2", "--mem-per-cpu=300", sys.executable, str(script)]).strip()
    provider, id_ = recall({"system": "slurm", "job": job, "name": ""})
    wait_for(provider, id_, JobState.COMPLETED)
    (out,) = tmp_path.glob("*.out")
    assert out.read_text().endswith("got ::1024\nstep\n")


# ------------------------------------------------------------------ commands in trouble
def test_sbatch_that_accepts_and_then_fails_submits_once(slurm, make, monkeypatch, tmp_path):
    """F58: the answer is lost, the job is not."""
    command_in_front(monkeypatch, tmp_path, "sbatch", '"$REAL" "$@" >&2; echo "Socket timed out" >&2; exit 1')
    provider = make()
    job = provider.submit(SLEEP, 1, "plait.twice")
    assert job.isdigit()
    wait_for(provider, job, JobState.RUNNING)
    assert slurm.names().count(provider.resources[job].name) == 1


def test_sbatch_that_hangs_after_it_accepted_submits_once(slurm, make, monkeypatch, tmp_path):
    """F58: the same, without an end."""
    command_in_front(monkeypatch, tmp_path, "sbatch", '"$REAL" "$@" >&2; sleep 60')
    provider = make(cmd_timeout=1)
    job = provider.submit(SLEEP, 1, "plait.twice")
    wait_for(provider, job, JobState.RUNNING)
    assert slurm.names().count(provider.resources[job].name) == 1


def test_sbatch_that_fails_while_nothing_can_be_asked(slurm, make, monkeypatch, tmp_path):
    """It was accepted, and the controller is gone before anybody can say so: the job is found once it is back."""
    command_in_front(monkeypatch, tmp_path, "sbatch", f'"$REAL" "$@" >&2; touch {tmp_path}/down; exit 1')
    command_in_front(monkeypatch, tmp_path, "squeue", f'[ -e {tmp_path}/down ] && exit 1; exec $REAL "$@"')
    provider = make()
    job = provider.submit(SLEEP, 1, "plait.found")
    assert state(provider, job) == JobState.UNKNOWN
    (tmp_path / "down").unlink()
    wait_for(provider, job, JobState.RUNNING)
    assert provider.cancel([job]) == [True]
    wait_for(provider, job, JobState.CANCELLED)
    assert slurm.names().count(provider.resources[job].name) == 1


@pytest.mark.parametrize("trouble", ["exit 1", "sleep 60", '"$REAL" "$@" | head -c 60'])
def test_squeue_in_trouble_changes_nothing(slurm, make, monkeypatch, tmp_path, trouble):
    """F56: it fails, hangs, or stops in the middle; it is back, and the state with it."""
    provider = make(cmd_timeout=1)
    job = provider.submit(SLEEP, 1)
    wait_for(provider, job, JobState.RUNNING)
    command_in_front(monkeypatch, tmp_path, "squeue", trouble)
    assert [state(provider, job) for _ in range(2)] == [JobState.RUNNING] * 2
    (tmp_path / "front" / "squeue").unlink()
    assert state(provider, job) == JobState.RUNNING


def test_a_controller_that_is_restarted(slurm, make):
    """Jobs go on; nothing is said to have ended, nothing is submitted, and then all is as it was."""
    provider = make()
    running, soon = provider.submit(SLEEP, 1), provider.submit("while [ ! -e go ]; do sleep 0.1; done; exit 3", 1)
    wait_for(provider, running, JobState.RUNNING)
    wait_for(provider, soon, JobState.RUNNING)
    slurm.stop_controller()
    assert [status.state for status in provider.status([running, soon])] == [JobState.RUNNING] * 2
    assert provider.cancel([running]) == [False]
    unsure = provider.submit(SLEEP, 1, "plait.unsure")
    assert state(provider, unsure) == JobState.UNKNOWN
    with open("go", "w"):
        """The job ends while nobody looks."""
    slurm.start_controller()
    assert wait_for(provider, soon, JobState.FAILED).exit_code == 3
    assert state(provider, running) == JobState.RUNNING
    assert provider.cancel([running, unsure]) == [True, False]
    wait_for(provider, running, JobState.CANCELLED)


def test_a_job_that_slurm_has_forgotten(slurm, make, monkeypatch, tmp_path):
    """F57: the queue does not know it, and there is no accounting; its script has said how it ended."""
    provider = make()
    job = provider.submit("exit 3", 1)
    wait_until(lambda: slurm.state(job) == "FAILED")
    command_in_front(monkeypatch, tmp_path, "squeue", 'exec "$REAL" "$@" --jobs=99999')
    assert wait_for(provider, job, JobState.FAILED).exit_code == 3


# ------------------------------------------------------------------ with accounting
def test_with_accounting_ends_that_slurm_forgot_are_known(slurm_accounting, make, monkeypatch, tmp_path):
    """The queue is silent about jobs that have ended; `sacct` says how, who cancelled, and with what exit code."""
    provider = make(clusters="plait", account="physics")
    failed, killed = provider.submit("exit 3", 1), provider.submit("rm -f $0; kill -9 $$", 1)
    cancelled = provider.submit(SLEEP, 1)
    assert failed.endswith(";plait")
    wait_for(provider, cancelled, JobState.RUNNING)
    slurm_accounting.run(["scancel", number(cancelled)])
    ids = provider.submit_many([("exit 4", 1, "plait.block-0"), (SLEEP, 1, "plait.block-1")])
    assert all(id_.endswith(";plait") for id_ in ids)
    wait_for(provider, ids[1], JobState.RUNNING)
    for job in (failed, killed, cancelled, ids[0]):
        wait_until(lambda job=job: slurm_accounting.state(number(job)) in {"FAILED", "CANCELLED"})
    command_in_front(monkeypatch, tmp_path, "squeue", '"$REAL" "$@" --states=RUNNING,PENDING')
    for path in (tmp_path / "jobs").glob("*.ec"):
        path.unlink()
    assert wait_for(provider, failed, JobState.FAILED).exit_code == 3
    assert wait_for(provider, killed, JobState.FAILED).exit_code == -9
    assert wait_for(provider, cancelled, JobState.CANCELLED).message == "the user with number 0 cancelled it"
    assert wait_for(provider, ids[0], JobState.FAILED).exit_code == 4
    assert state(provider, ids[1]) == JobState.RUNNING
    other, again = recall(provider.ticket(ids[1]))
    assert other.cancel([again]) == [True]
    wait_for(provider, ids[1], JobState.CANCELLED)
