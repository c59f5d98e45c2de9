"""The Slurm test bed is what tests take it for: nodes that are machines, and nothing that stays."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.leaks import descendants
from tests.support import ROOT, wait_until
from tests.testbed.common import Bed, BedError
from tests.testbed.mpi import BY_SRUN


def test_nodes_are_machines_of_their_own(slurm):
    """Each has its host name and its processes."""
    names = slurm.run(
        ["srun", "-N4", "-n4", "bash", "-c", "echo $(hostname) $(ps -eo stat= | grep -vc Z)"]
    ).splitlines()
    assert sorted(line.split()[0] for line in names) == ["node1", "node2", "node3", "node4"]
    assert all(int(line.split()[1]) < 20 for line in names), "a node sees the processes of others"


def test_mpi_programs_span_nodes(slurm, mpi_program, monkeypatch):
    """A real one, started by Slurm: its copies hear of each other."""
    for name, value in BY_SRUN.items():
        monkeypatch.setitem(slurm.env, name, value)
    argv = ["srun", "-N2", "-n4", "--ntasks-per-node=2", str(mpi_program)]
    try:
        lines = slurm.run(argv).splitlines()
    except (
        BedError
    ) as error:  # once in hundreds of times Open MPI takes a connection that is still being made for one that failed
        if "Open MPI failed to TCP connect" not in str(error):
            raise
        lines = slurm.run(argv).splitlines()
    assert sorted(lines) == [f"{rank} of 4 on node{1 + rank // 2} sum 6" for rank in range(4)]


def test_daemons_are_not_below_the_test(slurm):
    """So what Slurm starts in a test is no leak of the test."""
    before = descendants()
    slurm.crash_node(4)
    slurm.start_node(4)
    slurm.wait_node(4, "idle")
    assert descendants() == before


def test_a_bed_that_is_closed_leaves_nothing(tmp_path):
    """Neither daemons, nor what they lost, nor files; commands for the end were run."""
    bed = Bed("sleep")
    pid = bed.start("sleeper", ["bash", "-c", "setsid sleep 1000 & echo $! > lost; wait"])
    lost = bed.folder / "lost"
    bed.until(lambda: lost.exists() and lost.read_text().strip(), "it has started another")
    other = int(lost.read_text())
    assert bed.alive("sleeper")
    bed.at_end("touch", str(tmp_path / "ended"))
    bed.kill("sleeper")
    assert not bed.alive("sleeper")
    assert os.path.exists(f"/proc/{other}")
    bed.close()
    assert not os.path.exists(f"/proc/{pid}")
    assert not os.path.exists(f"/proc/{other}")
    assert not bed.folder.exists()
    assert (tmp_path / "ended").exists()


def test_a_bed_whose_tests_are_killed_leaves_nothing(tmp_path):
    """However the tests end, their daemons do too."""
    script = tmp_path / "killed.py"
    script.write_text(
        "import time\n"
        "from tests.testbed.common import Bed\n"
        "bed = Bed('killed')\n"
        "print(bed.start('sleeper', ['sleep', '1000']), bed.folder, flush=True)\n"
        "time.sleep(1000)\n"
    )
    tests = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    with tests:
        pid, folder = tests.stdout.readline().split()
        assert os.path.exists(f"/proc/{pid}")
        tests.kill()
    wait_until(lambda: not os.path.exists(f"/proc/{pid}") and not os.path.exists(folder))
