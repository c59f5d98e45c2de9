"""`HostList`: blocks on hosts that have no batch system. A block takes free hosts, and gives them back when all of it has ended there.

```
                       ┌─ Connection ═ host 1 ── job of block 0        one command for each host and look,
HostList ── threads ───┼─ Connection ═ host 2 ── job of block 1        all hosts at once
                       └─ Connection ═ host 3    free
```

A host that cannot be reached says nothing of its jobs: they stay as they were last seen, and after a minute are UNKNOWN.
"""

from __future__ import annotations

import logging
import os
import random
import re
import secrets
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from plait.errors import SubmitException, text_of
from plait.model.jobs import JobState, JobStatus
from plait.providers import ssh_jobs
from plait.providers.base import ExecutionProvider
from plait.providers.judge import SILENCE_S, Report
from plait.providers.script import job_name
from plait.providers.shell import CommandFailed, LocalShell
from plait.providers.ssh_jobs import Look
from plait.providers.ssh_shell import SshShell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plait.launchers.base import Launcher
    from plait.providers.ssh_connection import Connection

_logger: Final = logging.getLogger("plait")

#: Hosts that are talked to at once.
_THREADS: Final = 16
#: Seconds for which a host where nothing could be begun comes behind the others.
_SHY_S: Final = 120.0
#: Ports of the hosts' loopback for ways back: below those that systems give to programs that ask for any.
_PORTS: Final = (20000, 32000)
_PORT_TRIES: Final = 5
_HERE: Final = LocalShell()


@dataclass
class Place:
    """A job on one of its hosts.

    Attributes:
        host: the host.
        path: of the job's files there, without the ending; empty as long as that is not known.
        look: what the host said last; None before it has said anything.
        is_over: whether the job has ended there, and nothing of it is left.
        heard_s: when the host last answered.
        why: why it does not answer; empty when it does.
        out, err: the end of what the job wrote there.
    """

    host: str
    path: str
    heard_s: float
    look: Look | None = None
    is_over: bool = False
    why: str = ""
    out: str = ""
    err: str = ""


@dataclass
class HostJob:
    """A job of this machine on some hosts."""

    name: str
    local: str
    places: list[Place]
    status: JobStatus
    cancelled: bool = False
    adopted: bool = False  # it may be on some of the places only

    @property
    def live(self) -> list[Place]:
        """Where it has not ended."""
        return [place for place in self.places if not place.is_over]


class HostList(ExecutionProvider):
    """Blocks on a list of hosts; see `plait.providers.SSHProvider`."""

    def __init__(
        self,
        connections: Sequence[Connection],
        *,
        nodes_per_block: int,
        launcher: Launcher,
        worker_init: str,
        cmd_timeout: float,
        shares_files: bool,
        folder: str | None,
    ) -> None:
        self.nodes_per_block = nodes_per_block
        self.shells = {one.host: SshShell(one, shares_files=shares_files, folder=folder) for one in connections}
        self.launcher = launcher
        self.worker_init = worker_init
        self.cmd_timeout = cmd_timeout
        self.shares_files = shares_files
        self.script_dir: str | None = None
        self.resources: dict[str, HostJob] = {}
        self._back: tuple[str, int, int] | None = None  # address and port here, port there
        self._shy: dict[str, float] = {}
        self._strays: list[HostJob] = []  # begun for too small a block, on a host that did not take their end
        self._tag = secrets.token_hex(3)
        self._numbers: dict[str, int] = {}

    @property
    def label(self) -> str:
        """Name of the provider."""
        return "ssh"

    @property
    def status_polling_interval(self) -> float:
        """Seconds between two looks. They also find that a connection broke, and make it again."""
        return 5.0

    # ------------------------------------------------------------------ the way back
    def way_back(self, address: str, port: int) -> int:
        """Makes a port of each host's loopback lead to an address here; the same port on all.

        Raises:
            CommandFailed: no host can be reached, or none lends a port.
        """
        failure = CommandFailed(("ssh",), None, "", "", "there are no hosts")
        for shell in self.shells.values():
            for _ in range(_PORT_TRIES):
                there = random.randrange(*_PORTS)
                try:
                    shell.connection.forward(address, port, there)
                except CommandFailed as error:
                    failure = error
                    if error.code is None:  # not to be reached: ask the next
                        break
                else:
                    self._back = (address, port, there)
                    return there
        raise failure

    # ------------------------------------------------------------------ the port
    def submit(self, command: str, tasks_per_node: int, job_name: str = "plait.auto") -> str:
        """Begins the command on as many free hosts as a block has; the job's id.

        Raises:
            SubmitException: there are too few hosts that are free and can be reached, and why.
        """
        self._end_strays()
        name = self.final_name(job_name)
        self._numbers[job_name] = self._numbers.get(job_name, 0) + 1
        if self.script_dir is None:
            self.script_dir = tempfile.mkdtemp(prefix="plait-jobs-")
        local = os.path.join(os.path.abspath(self.script_dir), name)
        status = JobStatus(JobState.PENDING, stdout_path=f"{local}.out", stderr_path=f"{local}.err")
        job = HostJob(name, local, [], status)
        wrapped = self.launcher(command, tasks_per_node, 1, "")
        reasons: list[str] = []
        for host in self._free():
            if len(job.places) == self.nodes_per_block:
                break
            try:
                job.places.append(self._begin(host, job, wrapped))
            except (CommandFailed, OSError) as error:  # no file for a connection is no reason to forget what has begun
                reasons.append(f"{host}: {_why(error)}")
                self._shy[host] = time.monotonic()
        if len(job.places) < self.nodes_per_block:
            if job.places:
                self._strays.append(job)
                self._end_strays()
            wanted = f"{self.nodes_per_block} of {len(self.shells)} hosts are wanted"
            raise SubmitException(name, "; ".join([f"{wanted}, {len(job.places)} can be had", *reasons]))
        self.resources[name] = job
        return name

    def _end_strays(self) -> None:
        if self._strays:
            self._each(_by_host(self._strays), self._end)
            self._strays = [job for job in self._strays if job.live]

    def final_name(self, given: str) -> str:
        """The name on its hosts of the next job that is given this name, unlike that of any other; whatever else is begun before it."""
        return job_name(f"{given}.{self._tag}{self._numbers.get(given, 0) or ''}", 64)

    def _begin(self, host: str, job: HostJob, command: str) -> Place:
        """Begins a job on a host. When the answer is lost, it may have begun: the next look tells.

        Raises:
            CommandFailed: it has not begun.
        """
        shell = self.shells[host]
        place = Place(host, self._path(shell, job), time.monotonic())
        if self._back is not None:
            shell.connection.forward(*self._back)
        text = ssh_jobs.script(
            job.name, place.path, os.getcwd() if self.shares_files else "", self.worker_init, command
        )
        try:
            ssh_jobs.start(shell, job.name, place.path, text)
        except CommandFailed as error:
            if error.code is not None:
                raise
            place.why = error.why
        return place

    def _path(self, shell: SshShell, job: HostJob) -> str:
        """Hosts may have one home on a file server, so each has files of its own."""
        host = re.sub(r"[^A-Za-z0-9._-]", "_", shell.connection.host)
        return os.path.join(shell.folder(os.path.dirname(job.local)), f"{job.name}.{host}")

    def _free(self) -> list[str]:
        """Hosts without a job, those first that made no trouble lately."""
        busy = {place.host for job in (*self.resources.values(), *self._strays) for place in job.live}
        soon = time.monotonic() - _SHY_S
        return sorted(
            (host for host in self.shells if host not in busy), key=lambda host: self._shy.get(host, 0) > soon
        )

    def status(self, job_ids: Sequence[str]) -> list[JobStatus]:
        """How the jobs are, with one command for each host, all at once."""
        self._end_strays()
        jobs = [job for id_ in job_ids if (job := self.resources.get(id_)) is not None and job.live]
        if jobs:
            self._each(_by_host(jobs), self._look)
            for job in jobs:
                self._judge(job)
        return [self._status_of(id_) for id_ in job_ids]

    def cancel(self, job_ids: Sequence[str]) -> list[bool]:
        """Ends jobs with all their processes; those of hosts that cannot be reached are not accepted."""
        jobs = [job for id_ in job_ids if (job := self.resources.get(id_)) is not None and job.live]
        if jobs:
            for job in jobs:
                job.cancelled = True
            self._each(_by_host(jobs), self._end)
            for job in jobs:
                self._judge(job)
        return [(job := self.resources.get(id_)) is not None and not job.live for id_ in job_ids]

    def adopt(self, name: str, local: str) -> str:
        """Takes over a job of another process, which may be on any of the hosts."""
        now_s = time.monotonic()
        status = JobStatus(JobState.UNKNOWN)
        places = [Place(host, "", now_s) for host in self.shells]
        self.resources[name] = HostJob(name, local, places, status, adopted=True)
        return name

    def close(self) -> None:
        """Ends the connections."""
        self._back = None
        for shell in self.shells.values():
            shell.connection.close()

    # ------------------------------------------------------------------ one host
    def _look(self, shell: SshShell, mine: Sequence[tuple[HostJob, Place]]) -> None:
        """Asks a host how its jobs are, and tidies up behind those that have ended."""
        for job, place in mine:
            place.path = place.path or self._path(shell, job)
        found = ssh_jobs.look(shell, [place.path for _, place in mine], self.cmd_timeout)
        for _, place in mine:
            place.look, place.why, place.heard_s = found[place.path], "", time.monotonic()
        over = [(job, place) for job, place in mine if place.look is not None and place.look.is_over]
        if over:
            self._clear(shell, over, 0.0)

    def _end(self, shell: SshShell, mine: Sequence[tuple[HostJob, Place]]) -> None:
        for job, place in mine:
            place.path = place.path or self._path(shell, job)
        self._clear(shell, mine, None)

    def _clear(self, shell: SshShell, mine: Sequence[tuple[HostJob, Place]], grace_s: float | None) -> None:
        """Ends what there is of jobs, brings what they wrote, and removes their files."""
        names = [job.name for job, _ in mine]
        if grace_s is None:
            ssh_jobs.end(shell, names, self.cmd_timeout)
        else:
            ssh_jobs.end(shell, names, self.cmd_timeout, grace_s)
        for _, place in mine:
            place.out = shell.read(f"{place.path}.out") or ""
            place.err = shell.read(f"{place.path}.err") or ""
            place.look = place.look if place.look is not None and place.look.is_over else Look("killed")
            place.is_over, place.heard_s, place.why = True, time.monotonic(), ""
        ssh_jobs.tidy(shell, [place.path for _, place in mine])

    # ------------------------------------------------------------------ all hosts
    def _each(
        self,
        work: Mapping[str, list[tuple[HostJob, Place]]],
        do: Callable[[SshShell, Sequence[tuple[HostJob, Place]]], None],
    ) -> None:
        """Does something on several hosts at once. One that cannot be reached holds up no other."""

        def one(host: str) -> None:
            try:
                do(self.shells[host], work[host])
            except (CommandFailed, ValueError, OSError) as error:
                for _, place in work[host]:
                    place.why = _why(error)

        if len(work) == 1:
            one(next(iter(work)))
            return
        with ThreadPoolExecutor(min(_THREADS, len(work)), thread_name_prefix="plait-ssh") as pool:
            for _ in pool.map(one, work):
                pass

    def _judge(self, job: HostJob) -> None:
        if job.status.terminal:
            return
        report = judge(job.places, cancelled=job.cancelled, adopted=job.adopted, now_s=time.monotonic())
        job.status = replace(job.status, state=report.state, message=report.message, exit_code=report.exit_code)
        if job.status.terminal and job.local and not job.adopted:
            _keep_output(job)

    def _status_of(self, id_: str) -> JobStatus:
        job = self.resources.get(id_)
        return JobStatus(JobState.MISSING, f"this provider has begun no job {id_}") if job is None else job.status


def judge(places: Sequence[Place], *, cancelled: bool, adopted: bool, now_s: float) -> Report:
    """How a job is, from what its hosts say. Pure.

    Args:
        places: where it was begun.
        cancelled: whether it was ended from here.
        adopted: whether it may never have been on some of them.
        now_s: the time.
    """
    live = [place for place in places if not place.is_over]
    if live:
        mute = [place for place in live if place.why]
        reason = "; ".join(f"{place.host} does not answer: {place.why}" for place in mute) or None
        if len(mute) == len(live) and all(now_s - place.heard_s >= SILENCE_S for place in mute):
            return Report(JobState.UNKNOWN, reason)
        seen = [place for place in live if place.look is not None]
        return Report(JobState.RUNNING if seen else JobState.PENDING, reason)
    if cancelled:
        return Report(JobState.CANCELLED, "it was cancelled")
    looks = [(place.host, place.look) for place in places if place.look is not None]
    if adopted:
        looks = [(host, look) for host, look in looks if look.how != "absent"]
        if not looks:
            return Report(JobState.COMPLETED, "it is on none of its hosts")
    for host, look in looks:
        if look.how == "absent":
            return Report(JobState.FAILED, f"it was not begun on {host}")
        if look.how == "killed":
            return Report(JobState.FAILED, f"its script was killed on {host}")
        if look.code:
            return Report(JobState.FAILED, f"its script ended with exit code {look.code} on {host}", look.code)
    return Report(JobState.COMPLETED, None, 0)


def _why(error: Exception) -> str:
    return error.why if isinstance(error, CommandFailed) else text_of(error)


def _by_host(jobs: Sequence[HostJob]) -> dict[str, list[tuple[HostJob, Place]]]:
    found: dict[str, list[tuple[HostJob, Place]]] = {}
    for job in jobs:
        for place in job.live:
            found.setdefault(place.host, []).append((job, place))
    return found


def _keep_output(job: HostJob) -> None:
    """What the job wrote on its hosts, in one file each."""
    heads = [f"==> {place.host} <==\n" if len(job.places) > 1 else "" for place in job.places]
    try:
        _HERE.make_folder(os.path.dirname(job.local))
        _HERE.write(f"{job.local}.out", "".join(f"{h}{p.out}" for h, p in zip(heads, job.places, strict=True)))
        _HERE.write(f"{job.local}.err", "".join(f"{h}{p.err}" for h, p in zip(heads, job.places, strict=True)))
    except OSError as error:
        _logger.info("ssh: what job %s wrote cannot be kept: %s", job.name, error)
