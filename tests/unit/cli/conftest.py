"""A folder with commands of Slurm that answer, for what looks at configurations."""

from __future__ import annotations

import sys

import pytest

from plait.cli import findings
from plait.cli.check import check
from plait.configfile import system

FILE = """
[[executors]]
type = "HighThroughputExecutor"
label = "cpu"
address = "127.0.0.2"
[executors.provider]
type = "SlurmProvider"
"""
SINFO = "debug*|up|30:00|4|4|4000|(null)|1-infinite\nwide|up|1-00:00:00|64|64|256000|(null)|1-8\nold|down|1:00:00|1|4|4000|(null)|1-1\n"


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A folder, and commands of Slurm that answer; gives what writes a file and looks at it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(system, "SYSTEM", str(tmp_path / "none"))
    monkeypatch.setattr(system, "tried", [])
    monkeypatch.delenv(system.VARIABLE, raising=False)
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {
        "sbatch": "cat >/dev/null; echo 'sbatch: Job 1 to start at 2026-11-23T00:00:00' >&2",
        "squeue": "",
        "scancel": "",
        "sinfo": f"cat <<'X'\n{SINFO}X",
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(findings, "is_loopback", lambda address: address == "127.0.0.1")

    def run(more="", *, text=FILE, **keywords):
        (tmp_path / "plait.toml").write_text(text + more)
        return check("plait.toml", **{"submit": False, "timeout_s": 1.0, "as_json": False, **keywords})

    run.bin = folder
    run.folder = tmp_path
    return run
