"""Each thing that is looked at, with commands that answer as batch systems do."""

from __future__ import annotations

import json
import sys

import pytest

from plait.cli import check as module
from plait.cli.check import check
from plait.configfile import system
from plait.errors import ConfigurationError

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
    monkeypatch.setattr(module, "is_loopback", lambda address: address == "127.0.0.1")

    def run(more="", *, text=FILE, **keywords):
        (tmp_path / "plait.toml").write_text(text + more)
        return check("plait.toml", **{"submit": False, "timeout_s": 1.0, "as_json": False, **keywords})

    run.bin = folder
    run.folder = tmp_path
    return run


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


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('partition = "debgu"', "PROBLEM  cpu.provider.partition: 'debgu' is not there; Slurm has debug, wide, old"),
        ('partition = "debug,wide,x"', "PROBLEM  cpu.provider.partition: 'x' is not there"),
        ('partition = "old"', "PROBLEM  cpu.provider.partition: old is closed"),
        ('walltime = "00:31:00"', "PROBLEM  cpu.provider.walltime: '00:31:00' is more than debug allows, which is 00:30:00"),
        ("nodes_per_block = 5\nlauncher = { type = 'SrunLauncher' }", "PROBLEM  cpu.provider.nodes_per_block: 5 is more than debug has, which is 4"),
        ("partition = 'wide'\nnodes_per_block = 9\nlauncher = { type = 'SrunLauncher' }", "PROBLEM  cpu.provider.nodes_per_block: 9 is more than wide gives to one job, which is 8"),
        ("nodes_per_block = 2", "PROBLEM  cpu.provider.launcher: SingleNodeLauncher starts workers on the first of the block's 2 nodes only"),
        ('worker_init = "if true; then"', "PROBLEM  cpu.provider.worker_init: bash does not understand it: "),
        ('worker_init = "source /nowhere/bin/activate"', "PROBLEM  cpu.provider.worker_init: there is no file /nowhere/bin/activate"),
        ("cores_per_node = 8", "warning  cpu.provider.cores_per_node: 8 is more than the smallest nodes of debug have, which is 4"),
        ("launcher = { type = 'AprunLauncher' }", "warning  cpu.provider.launcher: aprun of AprunLauncher is not on PATH here"),
    ],
)  # fmt: skip
def test_what_is_wrong(slurm, capsys, more, message):
    code = slurm(more)
    assert message in capsys.readouterr().out
    assert code == ("PROBLEM" in message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('address = "127.0.0.2"', 'address = "127.0.0.1"', "PROBLEM  cpu.address: 127.0.0.1 means this machine only"),
        ('label = "cpu"', 'label = "cpu"\ndrain_period = 600', "warning  cpu.drain_period: 600 s is not less than the walltime of a block, 600 s"),
        ("[[executors]]", 'run_dir = "/proc/x"\n[[executors]]', "PROBLEM  run_dir: /proc/x cannot be made or written"),
        ("[[executors]]", 'run_dir = "/tmp/x"\n[[executors]]', "warning  run_dir: /tmp/x is on this machine only"),
    ],
)  # fmt: skip
def test_what_is_wrong_elsewhere(slurm, capsys, monkeypatch, old, new, message):
    real = module.os.access
    monkeypatch.setattr(module.os, "access", lambda path, mode: path != "/proc" and real(path, mode))
    slurm(text=FILE.replace(old, new))
    assert message in capsys.readouterr().out


def test_programs_of_several_nodes_start_themselves(slurm, capsys):
    text = (
        FILE.replace("HighThroughputExecutor", "MPIExecutor")
        + "nodes_per_block = 2\nlauncher = { type = 'SimpleLauncher' }"
    )
    assert slurm(text=text) == 0
    assert "launcher" not in capsys.readouterr().out


def test_what_the_scheduler_refuses(slurm, capsys):
    (slurm.bin / "sbatch").write_text(
        "#!/bin/sh\ncat >/dev/null\necho 'allocation failure: Invalid account' >&2; exit 1\n"
    )
    assert slurm() == 1
    assert "PROBLEM  cpu.provider: Slurm says: allocation failure: Invalid account\n" in capsys.readouterr().out


def test_a_scheduler_that_is_not_here_or_says_nothing(slurm, capsys):
    (slurm.bin / "sinfo").write_text("#!/bin/sh\nexit 1\n")
    assert slurm() == 0
    assert "warning  cpu.provider: Slurm does not say which queues it has" in capsys.readouterr().out
    assert slurm(text=FILE.replace("Slurm", "LSF")) == 1
    assert "PROBLEM  cpu.provider: bsub, bjobs, bkill of LSF not found on PATH" in capsys.readouterr().out


def test_accounts(slurm, capsys):
    (slurm.bin / "sacctmgr").write_text("#!/bin/sh\necho physics\necho chem\n")
    (slurm.bin / "sacctmgr").chmod(0o755)
    assert slurm("account = 'chem'") == 0
    assert "ok       cpu.provider.account: chem is yours\n" in capsys.readouterr().out
    assert slurm("account = 'bio'") == 1
    assert "PROBLEM  cpu.provider.account: 'bio' is none of yours, which are chem, physics\n" in capsys.readouterr().out


def test_a_partition_must_be_named_where_none_is_the_default(slurm, capsys):
    (slurm.bin / "sinfo").write_text(f"#!/bin/sh\ncat <<'X'\n{SINFO.replace('*', '')}X\n")
    slurm()
    assert (
        "warning  cpu.provider.partition: there is no default partition, so it must be named: debug, wide, old"
        in capsys.readouterr().out
    )


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
