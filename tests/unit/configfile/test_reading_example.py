"""The file in examples/ is right, says what its comments say, and runs a program."""

from __future__ import annotations

import subprocess
import sys

import plait
from tests.support import ROOT

EXAMPLE = ROOT / "examples" / "plait.toml"


def test_it_says_what_it_says():
    config = plait.Config.from_toml(EXAMPLE)
    pilot, threads = config.executors
    assert (config.retries, pilot.label, pilot.max_workers_per_node, threads.max_threads) == (1, "cluster", 2, 4)
    assert pilot.provider.worker_init == "export OMP_NUM_THREADS=1\n"
    assert plait.Config.from_toml(config.to_toml()).to_toml() == config.to_toml()


def test_what_it_has_as_comments_is_right_too():
    """Each key that stands there as a comment, put to use."""
    lines = EXAMPLE.read_text().replace("LocalProvider", "SlurmProvider").splitlines()
    used = [
        line.removeprefix("# ") if line.startswith("# ") and (" = " in line or "# [" in line) else line
        for line in lines
    ]
    pilot = plait.Config.from_toml("\n".join(used)).executors[0]
    assert (pilot.provider.partition, pilot.provider.nodes_per_block, len(pilot.available_accelerators)) == (
        "debug",
        2,
        4,
    )
    assert type(pilot.provider.launcher).__name__ == "SrunLauncher"


def test_a_program_runs_with_it(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import plait\n"
        "local = plait.python_app(lambda: __import__('threading').current_thread().name, executors=['threads'])\n"
        "pilot = plait.python_app(lambda: __import__('os').environ.get('OMP_NUM_THREADS'), executors=['cluster'])\n"
        "with plait.load():\n    print(pilot().result(), local().result()[:10])\n"
    )
    command = [sys.executable, "-m", "plait", "run", "--config", EXAMPLE, program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "1 ThreadPool\n"), done.stderr
