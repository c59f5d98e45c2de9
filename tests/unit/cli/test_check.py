"""The command as a whole, with commands that answer as a batch system does."""

from __future__ import annotations

import json

import pytest

from plait.cli.check import check
from plait.errors import ConfigurationError


def test_all_is_well(slurm, capsys):
    assert (
        slurm('partition = "debug"\nwalltime = "00:30:00"\nnodes_per_block = 4\nlauncher = { type = "SrunLauncher" }')
        == 0
    )
    out = capsys.readouterr().out
    assert "ok       cpu.provider.partition: debug: walltime 00:30:00, 4 nodes, 4 cores, 4 GB (the default)\n" in out
    assert "ok       cpu.provider: sbatch, squeue, scancel found on PATH\n" in out
    assert "ok       cpu.provider: Slurm says: Job 1 to start at 2026-11-23T00:00:00\n" in out
    assert "ok       cpu.address: nodes will dial 127.0.0.2\n" in out
    assert f"    sbatch --parsable {slurm.folder}/runinfo/NNN/cpu/plait.NNN.cpu.block-0.tag." in out
    assert "    | #SBATCH --partition=debug\n" in out
    assert "--submit tries it" in out
    assert sorted(each.name for each in slurm.folder.iterdir()) == ["bin", "plait.toml"]


def test_nothing_is_submitted_where_something_is_wrong(slurm, capsys, monkeypatch):
    monkeypatch.setattr("plait.cli.trial.try_out", lambda *_: pytest.fail("it was tried"))
    assert slurm('partition = "x"', submit=True) == 1
    assert "1 problem: nothing was submitted" in capsys.readouterr().out


LOCAL = """
[[executors]]
type = "HighThroughputExecutor"
label = "here"
max_workers_per_node = 1
provider = { type = "LocalProvider" }
[[executors]]
type = "ThreadPoolExecutor"
"""


def test_a_try_as_text_and_as_data(slurm, capsys):
    assert slurm(text=LOCAL, submit=True, timeout_s=60.0, scripts=False) == 0
    out = capsys.readouterr().out
    assert "here: a task ran after" in out
    assert out.endswith("Everything of the try was ended.\nIt works.\n")
    assert slurm(text=LOCAL, submit=True, timeout_s=60.0, as_json=True) == 0
    data = json.loads(capsys.readouterr().out)
    assert [trial["worked"] for trial in data["trials"]] == [True, True]
    assert data["submissions"]["here"]["argv"] == []
    assert all(finding["level"] == "ok" for finding in data["findings"])


def test_a_try_that_fails(slurm, capsys):
    text = LOCAL.replace('"LocalProvider"', '"LocalProvider", worker_init = "exit 3"')
    assert slurm(text=text, submit=True, timeout_s=60.0) == 1
    assert capsys.readouterr().out.endswith("The try failed.\n")


def test_files_that_are_wrong_or_not_there(slurm):
    with pytest.raises(
        ConfigurationError, match=r"plait.toml, line 8: executors\[0\].provider.partitoin: .*did you mean partition"
    ):
        slurm('partitoin = "x"')
    with pytest.raises(ConfigurationError, match="check none.toml: there is no such file; `plait init` writes one"):
        check("none.toml", submit=False, timeout_s=1.0, as_json=False)


def test_rules_that_are_tried(slurm, capsys):
    rules = slurm.folder / "rules.toml"
    rules.write_text("[limits.SlurmProvider]\nmax_blocks = 2\n")
    assert slurm("max_blocks = 2", rules=str(rules)) == 0
    assert f"ok       rules: the rules in {rules} are kept\n" in capsys.readouterr().out
    with pytest.raises(ConfigurationError, match="expected at most 2 here"):
        slurm("max_blocks = 3", rules=str(rules))
    rules.write_text("[limits.SlurmProvider]\nmax_block = 2\n")
    with pytest.raises(
        ConfigurationError, match=r"rules.toml, line 2: limits.SlurmProvider.max_block: there is no such parameter"
    ):
        slurm(rules=str(rules))
