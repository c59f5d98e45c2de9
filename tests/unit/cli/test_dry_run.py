from __future__ import annotations

import pytest

import plait
from plait.cli.dry_run import command_of, scheduler_says, submission
from plait.launchers import SrunLauncher
from plait.providers import (
    CondorProvider,
    FluxProvider,
    GridEngineProvider,
    LocalProvider,
    LSFProvider,
    PBSProProvider,
    SlurmProvider,
    TorqueProvider,
)
from plait.providers.shell import CommandFailed, Finished


def executor(provider, **keywords):
    return plait.HighThroughputExecutor("cpu", provider=provider, **keywords)


@pytest.mark.parametrize(
    ("provider", "program", "directive"),
    [
        (SlurmProvider, "sbatch", "#SBATCH --nodes=2"),
        (PBSProProvider, "qsub", "#PBS -l select=2:ncpus=1"),
        (TorqueProvider, "qsub", "#PBS -l nodes=2"),
        (LSFProvider, "bsub", "#BSUB -nnodes 2"),
        (FluxProvider, "flux", "#flux: --nodes=2"),
    ],
)
def test_the_script_of_a_batch_system_and_its_command(tmp_path, provider, program, directive):
    made = provider(nodes_per_block=2, worker_init="module load x")
    found = submission(executor(made), str(tmp_path / "runs"))
    assert found.argv[0] == program
    assert any(line.startswith(directive) for line in found.script.splitlines())
    assert "module load x" in found.script.splitlines()
    assert f"-m plait.executors.htex.manager {tmp_path}/runs/NNN/cpu/blocks/0.json" in found.script
    assert list(tmp_path.iterdir()) == []  # nothing was written
    assert made.resources == {}
    assert made.script_dir is None


def test_more_files_than_one(tmp_path):
    found = submission(executor(CondorProvider()), str(tmp_path))
    assert found.argv[0] == "condor_submit"
    assert "universe = vanilla" in found.script
    assert any("plait.executors.htex.manager" in text for text in found.others)


def test_the_same_twice(tmp_path):
    made = executor(GridEngineProvider())
    assert submission(made, str(tmp_path)) == submission(made, str(tmp_path))


def test_blocks_on_this_machine(tmp_path):
    found = submission(executor(LocalProvider(worker_init="export A=1")), str(tmp_path))
    assert found.argv == ()
    assert found.script.splitlines()[0] == "export A=1"


def test_a_command_of_ones_own(tmp_path):
    made = executor(SlurmProvider(launcher=SrunLauncher()), launch_cmd="mine {block_id} {config} {cores_per_worker}")
    assert command_of(made, str(tmp_path)) == f"mine 0 {tmp_path}/NNN/cpu/blocks/0.json 1.0"


class Shell:
    shares_files = True

    def __init__(self, code, err):
        self.code, self.err = code, err

    def run(self, argv, *, timeout_s, stdin="", env=None, max_bytes=0):
        self.asked = (tuple(argv), stdin)
        if self.code is None:
            raise CommandFailed(argv, None, "", "", "there is no such command")
        return Finished(tuple(argv), self.code, "", self.err)

    def folder(self, here):
        return here


@pytest.mark.parametrize(
    ("code", "err", "said"),
    [
        (0, "sbatch: Job 7 to start at 2026-11-23T04:00:00 using 4 processors\n", (True, "Job 7 to start at 2026-11-23T04:00:00 using 4 processors")),
        (1, "sbatch: error: x\nallocation failure: Invalid account\n", (False, "allocation failure: Invalid account")),
        (None, "", (False, "sbatch --test-only: there is no such command")),
    ],
)  # fmt: skip
def test_what_slurm_says_of_it(tmp_path, code, err, said):
    shell = Shell(code, err)
    provider = SlurmProvider(shell=shell)
    found = submission(executor(provider), str(tmp_path))
    assert scheduler_says(provider, found) == said
    assert shell.asked == (("sbatch", "--test-only"), found.script)
    assert scheduler_says(FluxProvider(), found) is None
