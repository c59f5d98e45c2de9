from __future__ import annotations

import pytest

from plait.launchers.srun import SrunLauncher, SrunMPILauncher
from tests.unit.launchers.fake import Fake


@pytest.fixture
def fake(tmp_path):
    return Fake(tmp_path, "srun")


@pytest.mark.parametrize(
    ("tasks", "nodes", "words"),
    [
        (
            1,
            1,
            [
                "--nodes=1",
                "--ntasks=1",
                "--ntasks-per-node=1",
                "--kill-on-bad-exit=0",
                "--wait=0",
                "--label",
                "/bin/bash",
                "FILE",
            ],
        ),
        (
            1,
            4,
            [
                "--nodes=4",
                "--ntasks=4",
                "--ntasks-per-node=1",
                "--kill-on-bad-exit=0",
                "--wait=0",
                "--label",
                "/bin/bash",
                "FILE",
            ],
        ),
        (
            3,
            2,
            [
                "--nodes=2",
                "--ntasks=6",
                "--ntasks-per-node=3",
                "--kill-on-bad-exit=0",
                "--wait=0",
                "--label",
                "/bin/bash",
                "FILE",
            ],
        ),
    ],
)
def test_one_step_for_all_copies(fake, tasks, nodes, words):
    assert fake.bash(SrunLauncher()("exit 5", tasks, nodes, str(fake.folder))).returncode == 5
    assert fake.argv() == words


def test_the_job_s_cpus_are_the_copies_and_overrides_come_last(fake):
    fake.environment["SLURM_CPUS_PER_TASK"] = "16"
    fake.bash(SrunLauncher(overrides="-c 8 --mem=0")("true", 1, 1, str(fake.folder)))
    assert fake.argv()[3:] == [
        "--cpus-per-task=16",
        "--kill-on-bad-exit=0",
        "--wait=0",
        "--label",
        "-c",
        "8",
        "--mem=0",
        "/bin/bash",
        "FILE",
    ]


def test_a_step_for_each_copy(fake):
    """Two nodes with two copies each: the first two on the first node."""
    done = fake.bash(SrunMPILauncher(overrides="-c 2")("echo it", 2, 2, str(fake.folder)))
    assert done.stdout == "it\n" * 4
    words = ["--nodes=1", "--ntasks=1", "--relative={}", "--overlap", "--label", "-c", "2", "/bin/bash"]
    assert sorted(call["argv"][:-1] for call in fake.calls) == [
        [word.format(node) for word in words] for node in (0, 0, 1, 1)
    ]
    assert len({call["argv"][-1] for call in fake.calls}) == 1


def test_the_worst_status_of_the_steps_is_that_of_the_job(fake):
    one_of_three = (
        f"mkdir {fake.folder}/first 2>/dev/null && exit 9; mkdir {fake.folder}/second 2>/dev/null && exit 3; exit 0"
    )
    assert fake.bash(SrunMPILauncher(debug=False)(one_of_three, 1, 3, str(fake.folder))).returncode == 9
    assert fake.bash("set -e\n" + SrunMPILauncher(debug=False)("exit 0", 1, 3, str(fake.folder))).returncode == 0


@pytest.mark.parametrize("launcher", [SrunLauncher(), SrunMPILauncher()])
def test_what_tasks_start_with_srun_is_not_labelled(fake, launcher):
    fake.environment["SLURM_LABELIO"] = "1"
    assert fake.bash(launcher('echo "${SLURM_LABELIO-none}"', 1, 1, str(fake.folder))).stdout == "none\n"


def test_their_text_can_be_written_into_a_configuration():
    for launcher in (SrunLauncher(overrides="-c 4"), SrunMPILauncher(debug=False)):
        assert repr(eval(repr(launcher))) == repr(launcher)
