"""Each thing that is looked at."""

from __future__ import annotations

import pytest

from plait.cli import findings as module
from plait.providers import GridEngineProvider, PBSProProvider, SlurmProvider
from plait.sites.machine import SCHEDULERS
from plait.sites.queues import Queue
from tests.unit.cli.conftest import FILE, SINFO


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
        ("nodes_per_block = 2\nlauncher = { type = 'WrappedLauncher', prepend = 'srun' }", "warning  cpu.provider.launcher: WrappedLauncher starts workers on the first of the block's 2 nodes only, unless its prefix"),
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


@pytest.mark.parametrize(
    ("lines", "files"),
    [
        ("source /a/b; . ~/c # d\nsource /e f", ["/a/b", "/e"]),
        ("module load x\nsource '/a b/c'\nsource \"/d e\"\n. /f\\ g", ["/a b/c", "/d e", "/f g"]),
        ("  source /a\n  if b; then\n    source /c\n  fi", ["/a"]),
        ('source "$HOME/a"\nsource $HOME/b\nsource <(c)\nsource `d`/e', []),
        (". /a || true\ntest -e /b && . /b\nsource activate env\nsource 'c", []),
        ("cd /a\nsource b/c\nsource /d", ["/d"]),
        ("source a/b \\\n  c", ["a/b"]),
        ("cat <<END\nsource /a\nEND", []),
        ("source ", []),
    ],
)
def test_files_that_bash_will_read(lines, files):
    assert list(module.sourced(lines)) == files


@pytest.mark.parametrize(("queue", "level"), [("prod", "ok"), ("small", "ok"), ("prod2", "problem")])
def test_a_queue_that_gives_jobs_to_others_is_one(queue, level):
    pbs = next(each for each in SCHEDULERS if each.system == "pbspro")
    found = module.Findings()
    module._queue(pbs, PBSProProvider(queue=queue), [Queue("prod", routes=True), Queue("small")], "x", found)
    assert [each.level for each in found.those] == [level]


def test_partitions_that_are_hidden_or_on_another_cluster(slurm, capsys):
    (slurm.bin / "sinfo").write_text(
        '#!/bin/sh\ncase "$*" in *--all*--clusters=b*) echo "secret|up|1:00:00|4|4|4000|(null)|1-4";; esac\n'
    )
    slurm('partition = "secret"\nclusters = "b"')
    assert "ok       cpu.provider.partition: secret: walltime 01:00:00" in capsys.readouterr().out
    slurm('partition = "secret"')
    assert "'secret' is not there" in capsys.readouterr().out


@pytest.mark.parametrize(("queue", "level"), [("*.q", "ok"), ("all.q@node1,long.q@@big", "ok"), ("*.x", "problem")])
def test_queues_of_grid_engine_by_patterns_and_hosts(queue, level):
    system = next(each for each in SCHEDULERS if each.system == "gridengine")
    found = module.Findings()
    module._queue(system, GridEngineProvider(queue=queue), [Queue("all.q"), Queue("long.q")], "x", found)
    assert [each.level for each in found.those] == [level]


@pytest.mark.parametrize(("account", "level"), [("Abc", "ok"), ("abc", "ok"), ("other", "problem")])
def test_accounts_in_whatever_letters(account, level):
    system = next(each for each in SCHEDULERS if each.system == "slurm")
    found = module.Findings()
    module._account(system, SlurmProvider(account=account), lambda *_: "ABC", "x", found)
    assert [each.level for each in found.those] == [level]
