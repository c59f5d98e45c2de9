"""With a program that says how it was called; tests/cluster/test_launchers.py has GNU parallel itself, over SSH."""

from __future__ import annotations

import pytest

from plait.launchers.parallel import GnuParallelLauncher
from tests.unit.launchers.fake import Fake

WORDS = (
    "--will-cite --plain --nonall --jobs 2 --ungroup --quote --joblog FILE.log --sshloginfile FILE.hosts /bin/bash FILE"
)


@pytest.fixture
def fake(tmp_path):
    return Fake(tmp_path, "parallel")


def test_a_copy_on_each_host_of_the_batch_system(fake):
    (fake.folder / "nodes").write_text("n1\nn1\nn2\nn2\n")
    fake.environment["PBS_NODEFILE"] = str(fake.folder / "nodes")
    done = fake.bash(GnuParallelLauncher()("echo it", 1, 2, str(fake.folder)))
    assert (done.returncode, done.stdout) == (0, "it\n")
    assert fake.argv() == WORDS.split()
    assert fake.hosts() == ["n1", "n2"]
    assert list(fake.folder.glob("command.*")) == []


def test_without_a_list_it_is_this_host(fake):
    done = fake.bash(GnuParallelLauncher()("echo it", 3, 1, str(fake.folder)))
    assert (done.returncode, done.stdout) == (0, "it\n" * 3)
    assert fake.hosts() == [":"]


def test_copies_have_the_job_s_folder_and_variables(fake):
    """SSH gives them neither. The host keeps what is its own."""
    folder = fake.folder / "a folder's"
    folder.mkdir()
    fake.environment.update(GREETING="it's\n$HOME", SSH_TTY="here", TMPDIR="/none")
    script = GnuParallelLauncher(debug=False)(
        'pwd; echo "$GREETING"; echo "${TMPDIR-none} $SSH_TTY"', 1, 1, str(fake.folder)
    )
    script = script.replace("parallel --will-cite", "env -i SSH_TTY=there PATH=$PATH parallel --will-cite")
    assert fake.bash(script, cwd=folder).stdout == f"{folder}\nit's\n$HOME\nnone there\n"


@pytest.mark.parametrize(
    ("status", "log", "whole"), [(0, [0, 0], 0), (2, [3, 9], 9), (1, [0, 5], 5), (127, None, 127), (255, [4], 255)]
)
def test_the_status_is_the_highest_of_the_copies(fake, status, log, whole):
    """GNU parallel's own says how many failed; from 102 on it is one of its own errors."""
    program = fake.folder / "parallel"
    head = "Seq\\tHost\\tStarttime\\tJobRuntime\\tSend\\tReceive\\tExitval\\tSignal\\tCommand\\n"
    lines = "".join(f"{n}\\tn{n}\\t1\\t1\\t0\\t0\\t{code}\\t0\\tbash x\\n" for n, code in enumerate(log or [], 1))
    write = f"printf '{head}{lines}' >\"${{9}}\"" if log else ":"
    program.write_text(f"#!/bin/bash\n{write}\nexit {status}\n")
    assert fake.bash(GnuParallelLauncher(debug=False)("true", 1, 1, str(fake.folder))).returncode == whole
    assert list(fake.folder.glob("command.*")) == []


def test_debug_shows_the_line(fake):
    assert "+ parallel --will-cite" in fake.bash(GnuParallelLauncher()("", 1, 1, ".")).stderr
    assert fake.bash(GnuParallelLauncher(debug=False)("", 1, 1, ".")).stderr == ""
