"""Grid Engine 8.1.9 on three hosts: a master on the first, an execution daemon on each, `SLOTS` slots on each.

Commands run on the first host, which alone may submit: `bin/` in the bed's folder has them, for the front of PATH.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.testbed.common import Bed, require_commands, require_root
from tests.testbed.netns import Network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.testbed.netns import Host

SLOTS: Final = 4
COMMANDS: Final = ("qsub", "qstat", "qdel", "qacct", "qhost", "qmod", "qconf", "qalter", "qhold", "qrls")
CWD: Final = '--wdns="$PWD"'  # commands run where they are called
_SHARE: Final = Path("/usr/share/gridengine")

#: What differs from the defaults of the cluster's, the scheduler's and the queue's configuration: everything is looked at every second,
#: a host that says nothing is given up soon, root may submit.
_GLOBAL: Final = {
    "execd_spool_dir": "{folder}/spool/exec",
    "min_uid": "0",
    "min_gid": "0",
    "load_report_time": "00:00:02",
    "max_unheard": "00:00:06",
    "reschedule_unknown": "00:00:02",
    "gid_range": "20000-20200",
    "qmaster_params": "none",
    "login_shells": "none",  # what a developer has in .profile is not what is tested
    "shell_start_mode": "unix_behavior",
    "execd_params": "INHERIT_ENV=false",
    "reporting_params": "accounting=true reporting=false flush_time=00:00:01 accounting_flush_time=00:00:00 joblog=false sharelog=00:00:00",
}
_SCHEDULER: Final = {"schedule_interval": "0:0:1", "flush_submit_sec": "1", "flush_finish_sec": "1"}
_QUEUE: Final = {
    "hostlist": "@allhosts",
    "slots": str(SLOTS),
    "pe_list": "smp nodes",
    "shell": "/bin/csh",  # as at most sites: a job must say that it is for bash
    "rerun": "TRUE",
    "load_thresholds": "NONE",
    "shell_start_mode": "posix_compliant",
}
#: Parallel environments and how their slots lie: all on one host; one on each host.
_ENVIRONMENTS: Final = {"smp": "$pe_slots", "nodes": "1"}
_PARALLEL: Final = """\
pe_name {name}
slots 999
user_lists NONE
xuser_lists NONE
start_proc_args NONE
stop_proc_args NONE
allocation_rule {rule}
control_slaves TRUE
job_is_first_task FALSE
urgency_slots min
accounting_summary TRUE
qsort_args NONE
"""
_HOST: Final = """\
hostname {name}
load_scaling NONE
complex_values NONE
user_lists NONE
xuser_lists NONE
projects NONE
xprojects NONE
usage_scaling NONE
report_variables NONE
"""


class GridEngine:
    """The cluster.

    Attributes:
        hosts: its hosts.
        here: the address of this machine, as jobs see it.
        bin: folder of its commands.
        settings: a file with the variables that they need, as installations have one.
    """

    def __init__(self, bed: Bed) -> None:
        require_commands("qsub", "sge_qmaster", "sge_execd")
        self.bed = bed
        self.network = Network(bed, 3, "sge")
        self.hosts: list[Host] = self.network.hosts
        self.here = self.network.here
        self.master = self.hosts[0]
        self.bin = bed.folder / "bin"
        self.settings = bed.folder / "settings.sh"
        self._env = {
            "SGE_ROOT": str(bed.folder), "SGE_CELL": "default", "SGE_QMASTER_PORT": "6444", "SGE_EXECD_PORT": "6445",
            "SGE_CLUSTER_NAME": "bed", "SGE_ND": "1",
        }  # fmt: skip
        bed.env.update(self._env)
        self._write_files()
        self.master.start("qmaster", ["sge_qmaster"])
        bed.until(lambda: self.run("qconf", "-sh"), "the master answers", "qmaster")
        self._configure()
        for host in self.hosts:
            self.start_daemon(host)
        bed.until(self._all_are_up, "all hosts are up", "qmaster", *(f"execd-{host.name}" for host in self.hosts))

    def _write_files(self) -> None:
        """What an installation has in its folder, and the commands."""
        bed, folder = self.bed, self.bed.folder
        for name in ("default/common", "spool/qmaster/job_scripts", "spool/db", "spool/exec"):
            (folder / name).mkdir(parents=True)
        for name in ("util", "lib", "utilbin"):
            (folder / name).symlink_to(f"/var/lib/gridengine/{name}")
        lines = {"qmaster_spool_dir": "{folder}/spool/qmaster", "spooling_params": "{folder}/spool/db", "admin_user": "root", "ignore_fqdn": "true"}  # fmt: skip
        bed.write("default/common/bootstrap", self._changed((_SHARE / "default-bootstrap").read_text(), lines))
        bed.write("default/common/cluster_name", "bed\n")
        bed.write("default/common/act_qmaster", f"{self.master.name}\n")
        bed.write("default/common/accounting", "")
        bed.run([str(_SHARE / "scripts" / "init_cluster"), str(folder), "default", f"{folder}/spool/db", "root"])
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self._env.items()]
        bed.write("settings.sh", "\n".join([*lines, ""]))
        there = shlex.join(self.master.on("/usr/bin/env", *(f"{name}={value}" for name, value in self._env.items())))
        for name in COMMANDS:
            bed.write(f"bin/{name}", f'#!/bin/sh\nexec {there.replace("--wdns=/", CWD)} /usr/bin/{name} "$@"\n', 0o755)

    def _configure(self) -> None:
        for host in self.hosts:
            self.run("qconf", "-ah", host.name, check=False)  # the first is known
        self.run("qconf", "-as", self.master.name)
        self._set("conf/global", self.run("qconf", "-sconf"), _GLOBAL, "-Mconf")
        self._set("conf/scheduler", self.run("qconf", "-ssconf"), _SCHEDULER, "-Msconf")
        for host in self.hosts:
            self._set(f"conf/{host.name}", _HOST.format(name=host.name), {}, "-Ae", check=False)
        names = " ".join(host.name for host in self.hosts)
        self._set("conf/hosts", f"group_name @allhosts\nhostlist {names}\n", {}, "-Ahgrp")
        for name, rule in _ENVIRONMENTS.items():
            self._set(f"conf/{name}", _PARALLEL.format(name=name, rule=rule), {}, "-Ap")
        template = self.bed.run(self.master.on("env", "EDITOR=cat", "qconf", "-aq", "all.q"), check=False)
        self._set("conf/all.q", re.sub(r"^all\.q unchanged.*|^No change.*", "", template, flags=re.MULTILINE), _QUEUE, "-Aq")  # fmt: skip

    def _set(self, name: str, text: str, lines: dict[str, str], option: str, *, check: bool = True) -> None:
        path = self.bed.write(name, self._changed(text, lines))
        self.run("qconf", option, str(path), check=check)

    def _changed(self, text: str, lines: dict[str, str]) -> str:
        """A configuration with some lines replaced; they may go on over a backslash."""
        for name, value in lines.items():
            line = f"{name} {value.format(folder=self.bed.folder)}"
            text = re.sub(rf"^{name}\s(?:.*\\\n)*.*$", lambda _, line=line: line, text, count=1, flags=re.MULTILINE)
        return text

    def _all_are_up(self) -> bool:
        lines = [line.split() for line in self.run("qstat", "-f").splitlines() if line.startswith("all.q@")]
        return sum(len(words) == 5 for words in lines) == len(self.hosts)  # a sixth word is a state

    # ------------------------------------------------------------------ the cluster's life
    def start_daemon(self, host: Host) -> None:
        """Starts the execution daemon of a host."""
        host.start(f"execd-{host.name}", ["sge_execd"])

    def boot(self, host: Host) -> None:
        """Brings back a host that crashed."""
        host.boot()
        self.start_daemon(host)
        self.bed.until(self._all_are_up, "all hosts are up", "qmaster", f"execd-{host.name}")

    def restart_master(self) -> None:
        """The master is killed and comes back."""
        self.bed.kill("qmaster")
        self.master.start("qmaster", ["sge_qmaster"])
        self.bed.until(lambda: self.run("qconf", "-sh"), "the master answers", "qmaster")

    def run(self, *argv: str, check: bool = True) -> str:
        """Runs one of its commands; its output."""
        return self.master.run(*argv, check=check)

    def jobs(self) -> dict[str, str]:
        """Jobs that are in the queue, and their states."""
        lines = [line.split() for line in self.run("qstat", "-u", "*").splitlines()[2:]]
        return {words[0]: words[4] for words in lines}

    def empty(self) -> None:
        """Ends all jobs."""
        if self.jobs():
            self.run("qdel", "-f", "-u", "*", check=False)
            self.bed.until(lambda: not self.jobs(), "the queue is empty", "qmaster")


@contextlib.contextmanager
def grid_engine() -> Iterator[GridEngine]:
    """The cluster, for as long as that lasts."""
    require_root("network namespaces")
    require_commands("qsub", "sge_qmaster", "sge_execd")
    with Bed("sge") as bed:
        yield GridEngine(bed)


@pytest.fixture(scope="session")
def sge_bed() -> Iterator[GridEngine]:
    """The cluster, for all tests of a session."""
    with grid_engine() as cluster:
        yield cluster


@pytest.fixture
def sge(sge_bed: GridEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[GridEngine]:
    """The cluster with an empty queue and its commands on PATH."""
    monkeypatch.setenv("PATH", f"{sge_bed.bin}{os.pathsep}{os.environ['PATH']}")
    yield sge_bed
    sge_bed.empty()
