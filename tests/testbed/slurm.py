"""Slurm: a controller and some nodes, each a slurmd that believes to be a machine of its own.

```
keeper ──▶ munged, slurmctld (and mariadbd, slurmdbd with accounting)
       ──▶ unshare: own processes, own mounts, own host name ──▶ slurmd -N node1 ──▶ slurmstepd ──▶ the job's script
       ──▶ …                                                                      node2, node3, node4
```

A node's process 1 is its slurmd: killing it is what a power cut is, with all that ran there. All nodes share files and the network of
this machine, unless they are given hosts of their own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import require
from tests.testbed.common import Bed, BedError, free_ports, require_commands, require_root, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo", "srun", "unshare")
ACCOUNTING = ("slurmdbd", "mariadbd", "mariadb", "mariadb-install-db", "sacct", "sacctmgr")
CLUSTER = "plait"


class Slurm(Bed):
    """A cluster that is up when it has been made.

    Partitions: ``debug`` has all nodes, ``short`` the first two, ``scavenge`` all of them, where jobs are ended when others want their
    nodes, and ``urgent``, whose jobs want them.

    Args:
        nodes: how many.
        cpus: of each node, whatever this machine has.
        memory_mb: likewise.
        accounting: with slurmdbd and a database, so that `sacct` knows.
        hosts: for each node an address and what a command is to be prefixed with to run there; the head's comes last.
    """

    def __init__(
        self,
        nodes: int = 4,
        cpus: int = 4,
        memory_mb: int = 4000,
        *,
        accounting: bool = False,
        hosts: Sequence[tuple[str, Sequence[str]]] | None = None,
    ) -> None:
        super().__init__("slurm")
        self.nodes = nodes
        self.accounting = accounting
        self.hosts = list(hosts or [("127.0.0.1", ())] * (nodes + 1))
        self._ports = free_ports(nodes + 2)
        self.env["SLURM_CONF"] = str(self.folder / "slurm.conf")
        try:
            self._configure(cpus, memory_mb)
            self._start_munge()
            if accounting:
                self._start_accounting()
            self.start_controller()
            for node in range(1, nodes + 1):
                self.start_node(node)
            self.until(lambda: self.idle() == nodes, "nodes are idle", "slurmctld", "node1")
        except BaseException:
            self.close()
            raise

    # ------------------------------------------------------------------ its parts
    def _configure(self, cpus: int, memory_mb: int) -> None:
        for name in ("state", "log", "spool"):
            (self.folder / name).mkdir()
        head, nodes = self.hosts[-1][0], self.hosts[:-1]
        storage = "accounting_storage/none"
        if self.accounting:
            storage = f"accounting_storage/slurmdbd\nAccountingStorageHost={head}\nAccountingStoragePort={self._ports[-1]}\nAccountingStoragePass={self.folder}/munge"
        lines = [
            f"NodeName=node{n} NodeHostname=node{n} NodeAddr={address} Port={port} CPUs={cpus} Sockets=1 "
            f"CoresPerSocket={cpus} ThreadsPerCore=1 RealMemory={memory_mb} State=UNKNOWN"
            for n, ((address, _), port) in enumerate(zip(nodes, self._ports[1:], strict=False), 1)
        ]
        self.write(
            "slurm.conf",
            _CONF.format(folder=self.folder, cluster=CLUSTER, head=_hostname(), address=head, port=self._ports[0], storage=storage)
            + "\n".join(lines)
            + _PARTITIONS,
        )  # fmt: skip
        for n in range(1, self.nodes + 1):  # PMIx makes folders of the same name on each node
            (self.folder / "pmix" / f"node{n}").mkdir(parents=True)
            self.write(f"mpi.node{n}", f"PMIxCliTmpDirBase={self.folder}/pmix/node{n}\n")
        self.write("mpi.conf", "")
        names = "".join(f"{address} node{n}\n" for n, (address, _) in enumerate(nodes, 1))
        self.write("hosts", f"127.0.0.1 localhost\n{head} {_hostname()}\n{names}")

    def _start_munge(self) -> None:
        self.write("munge.key", os.urandom(512).hex(), 0o400)
        self.start(
            "munged",
            [
                "munged", "--foreground", "--force", f"--key-file={self.folder}/munge.key", f"--socket={self.folder}/munge",
                f"--pid-file={self.folder}/munged.pid", f"--log-file={self.folder}/log/munged.log",
                f"--seed-file={self.folder}/munge.seed", "--num-threads=2",
            ],
        )  # fmt: skip
        self.until((self.folder / "munge").exists, "munge listens", "munged")

    def _start_accounting(self) -> None:
        data, sock = self.folder / "db", self.folder / "db.sock"
        sql = ["mariadb", "--no-defaults", f"--socket={sock}", "--user=root"]
        self.run(
            [
                "mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}", "--skip-test-db",
                "--auth-root-authentication-method=normal",
            ],
            timeout_s=60,
        )  # fmt: skip
        self.start(
            "mariadbd",
            [
                "mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", f"--socket={sock}", "--skip-networking",
                "--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900", "--innodb-flush-log-at-trx-commit=0",
                f"--pid-file={self.folder}/db.pid",
            ],
        )  # fmt: skip
        self.until(lambda: self.run([*sql, "-e", "select 1"]), "the database answers", "mariadbd")
        for statement in (
            "create database slurm_acct_db",
            "create user slurm@localhost identified by 'x'",
            "grant all on slurm_acct_db.* to slurm@localhost",
        ):
            self.run([*sql, "-e", statement])
        conf = _DBD_CONF.format(folder=self.folder, head=_hostname(), address=self.hosts[-1][0], port=self._ports[-1])
        self.write("slurmdbd.conf", conf, 0o600)  # it is looked for beside slurm.conf
        prefix = self.hosts[-1][1]
        self.start("slurmdbd", [*prefix, "slurmdbd", "-D"], env={"MYSQL_UNIX_PORT": str(sock)})
        admin = ["sacctmgr", "-i", "-n"]
        self.until(
            lambda: self.run([*admin, "add", "cluster", CLUSTER]) or True, "accounting takes the cluster", "slurmdbd"
        )
        self.run([*admin, "add", "account", "physics", "Description=x", "Organization=x"])
        self.run([*admin, "add", "user", "root", "Account=physics"])

    def start_controller(self) -> None:
        """Starts the controller, which goes on where it was ended."""
        self.start("slurmctld", [*self.hosts[-1][1], "slurmctld", "-D"])
        self.until(lambda: "UP" in self.run(["scontrol", "ping"]), "the controller answers", "slurmctld")

    def stop_controller(self) -> None:
        """Ends the controller, which writes down what it knows; jobs go on, commands fail."""
        self.kill("slurmctld", signal.SIGTERM)

    # ------------------------------------------------------------------ nodes
    def start_node(self, node: int) -> None:
        """Switches a node on, from 1. `wait_node` waits for it."""
        self.start(
            f"node{node}",
            [
                *self.hosts[node - 1][1], "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts", "--", "bash", "-c",
                _NODE, "slurmd", str(self.folder), f"node{node}",
            ],
        )  # fmt: skip

    def crash_node(self, node: int) -> None:
        """Cuts a node's power. The controller notices after some seconds."""
        self.kill(f"node{node}")

    def wait_node(self, node: int, *states: str, timeout_s: float = 30.0) -> str:
        """Waits until the controller says one of these of a node, such as ``idle`` or ``down``; what it said."""
        return self.until(lambda: self._state_in(node, states), f"node{node} is {states}", "slurmctld", f"node{node}", timeout_s=timeout_s)  # fmt: skip

    def _state_in(self, node: int, states: Sequence[str]) -> str:
        state = self.node_state(node)
        return state if state in states or (state == "down*" and "down" in states) else ""

    def node_state(self, node: int) -> str:
        """What the controller says of a node."""
        return self.run(["sinfo", "-h", "-N", "-n", f"node{node}", "-p", "debug", "-o", "%T"]).strip()

    def idle(self) -> int:
        """How many nodes have nothing to do."""
        return (
            self.run(["sinfo", "-h", "-N", "-p", "debug", "-o", "%T"]).split().count("idle")
        )  # "idle*" does not answer

    # ------------------------------------------------------------------ jobs
    def queue(self) -> dict[str, str]:
        """Jobs that have not ended, and their states."""
        lines = self.run(["squeue", "-h", "-r", "-o", "%i %T"]).splitlines()
        return dict(line.split(" ", 1) for line in lines)

    def names(self) -> list[str]:
        """Names of all jobs that the controller remembers, ended ones too."""
        return self.run(["squeue", "-h", "-r", "-t", "all", "-o", "%j"]).split()

    def state(self, job: str) -> str:
        """State of one job, ended ones too."""
        return self.run(["squeue", "-h", "-r", "-t", "all", "-j", job, "-o", "%T"]).strip()

    def cancel_all(self) -> None:
        """Ends all jobs; returns when the nodes have nothing to do."""
        jobs = self.queue()
        if jobs:
            self.run(["scancel", "--user=root"])
            self.until(lambda: not self.queue(), "no job is left", "slurmctld")

    def heal(self) -> None:
        """Makes it as it was at first: no jobs, controller and nodes up."""
        if not self.alive("slurmctld"):
            self.start_controller()
        for node in range(1, self.nodes + 1):
            if not self.alive(f"node{node}"):
                self.start_node(node)
        self.cancel_all()
        for node in range(1, self.nodes + 1):
            if self._state_in(node, ["down", "drained", "draining", "reserved"]):
                with contextlib.suppress(BedError):
                    self.run(["scontrol", "update", f"nodename=node{node}", "state=resume"])
        self.until(lambda: self.idle() == self.nodes, "all nodes are idle again", "slurmctld")

    def update(self, **what: Any) -> None:
        """``scontrol update``, as the administrator."""
        self.run(["scontrol", "update", *(f"{name}={value}" for name, value in what.items())])


def require_slurm(*, accounting: bool = False) -> None:
    """Skips, or fails with ``CI=true``, where it cannot be started."""
    require_root("nodes with their own processes and host names")
    require_commands(*COMMANDS, *(ACCOUNTING if accounting else ()))
    try:
        run(["unshare", "--pid", "--fork", "--mount-proc", "--uts", "true"])
    except BedError as error:  # root in a container that may not
        require(False, f"namespaces of processes and mounts ({error})")


_shared: dict[bool, Slurm] = {}


def _the(accounting: bool) -> Iterator[Slurm]:
    """One for all that ask, in whatever folder of tests their fixture is; the first that asked ends it."""
    require_slurm(accounting=accounting)
    if accounting in _shared:
        yield _shared[accounting]
        return
    with Slurm(accounting=accounting) as bed:
        _shared[accounting] = bed
        yield bed
        del _shared[accounting]


@pytest.fixture(scope="session")
def slurm_bed() -> Iterator[Slurm]:
    """Four nodes of four CPUs, for the whole session."""
    yield from _the(accounting=False)


@pytest.fixture(scope="session")
def slurm_accounting_bed() -> Iterator[Slurm]:
    """The same with accounting."""
    yield from _the(accounting=True)


def _lent(bed: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    monkeypatch.setenv("SLURM_CONF", bed.env["SLURM_CONF"])
    yield bed
    left = bed.queue() if bed.alive("slurmctld") else {}
    left = {job: state for job, state in left.items() if state != "COMPLETING"}  # that one has ended
    bed.heal()
    assert not left, f"jobs that the test left in the queue: {left}"


@pytest.fixture
def slurm(slurm_bed: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """Slurm for one test, whose commands find it. A test that leaves a job in the queue fails; what it broke is mended."""
    yield from _lent(slurm_bed, monkeypatch)


@pytest.fixture
def slurm_accounting(slurm_accounting_bed: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """The same with accounting."""
    yield from _lent(slurm_accounting_bed, monkeypatch)


def _hostname() -> str:
    return socket.gethostname().partition(".")[0]


# What is done on a node: it has files of its own where all would write the same.
_NODE = """\
mount --bind "$1/hosts" /etc/hosts
mount --bind "$1/mpi.$2" "$1/mpi.conf"
hostname "$2"
exec "$0" -D -N "$2"
"""

# Times are as short as Slurm takes them: a node that does not answer for SlurmdTimeout is down, and looks are a third of that apart.
_CONF = """\
ClusterName={cluster}
SlurmctldHost={head}({address})
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1,batch_sched_delay=0,defer_batch=0
SlurmdTimeout=3
SlurmctldTimeout=8
InactiveLimit=0
KillWait=1
MessageTimeout=2
WaitTime=0
MinJobAge=300
JobRequeue=1
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
UnkillableStepTimeout=10
AccountingStorageType={storage}
"""
_PARTITIONS = """
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE DefMemPerCPU=500 PriorityTier=5 PreemptMode=OFF State=UP
PartitionName=short Nodes=node[1-2] MaxTime=10 DefMemPerCPU=500 PriorityTier=5 PreemptMode=OFF State=UP
PartitionName=scavenge Nodes=ALL MaxTime=INFINITE DefMemPerCPU=500 PriorityTier=1 PreemptMode=CANCEL State=UP
PartitionName=urgent Nodes=ALL MaxTime=INFINITE DefMemPerCPU=500 PriorityTier=9 PreemptMode=OFF State=UP
"""
_DBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge,cred_expire=5
DbdHost={head}
DbdAddr={address}
DbdPort={port}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
LogFile={folder}/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StoragePort=3306
StorageUser=slurm
StoragePass=x
StorageLoc=slurm_acct_db
"""
