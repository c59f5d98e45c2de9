"""`SSHProvider`: blocks on machines that are reached by ssh, with a batch system there or without.

```
hosts=[…]                 this machine ═ssh═ host 1, host 2, …        each block takes free hosts            ssh_hosts.py
host=…, provider=…        this machine ═ssh═ login host ─ sbatch, qsub … ─▶ compute nodes                     ssh_shell.py
ways back (tunnel)        manager ─▶ its host's loopback ═ssh═▶ interchange                                   ssh_connection.py
                          manager ─▶ relay on the login host ─▶ loopback ═ssh═▶ interchange                   ssh_relay.py
```
"""

from __future__ import annotations

import copy
import json
import logging
import os
import select
import shlex
import subprocess
import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from plait._util.represent import represent
from plait.errors import BadLauncher, ConfigurationError, text_of
from plait.launchers.base import Launcher
from plait.launchers.simple import SingleNodeLauncher
from plait.providers.base import ExecutionProvider, check_blocks
from plait.providers.cluster import ClusterProvider
from plait.providers.script import checked_lines, checked_seconds, checked_text, checked_yes
from plait.providers.shell import CommandFailed
from plait.providers.ssh_connection import Connection, checked_host, checked_options
from plait.providers.ssh_hosts import HostList
from plait.providers.ssh_shell import SshShell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plait.model.jobs import JobStatus

_logger: Final = logging.getLogger("plait")

#: Seconds between two looks, at most: they also find that a connection broke, and make it again before managers are taken for lost.
_POLL_S: Final = 30.0
#: Seconds that an address has to answer when it is tried from there, and a relay to begin.
_PROBE_S: Final = 3
_RELAY_S: Final = 30.0
_PROBE: Final = (
    f'p=$1; shift; for a in "$@"; do timeout {_PROBE_S} bash -c \'exec 3<>"/dev/tcp/$0/$1"\' "$a" "$p" 2>/dev/null & q="$q $!"; done; '
    "for e in $q; do wait $e && { kill $q 2>/dev/null; echo reached; exit 0; }; done; exit 1"
)
_RELAY: Final = "import sys; exec(compile(sys.stdin.buffer.read(int(sys.argv.pop(1))), 'plait-relay', 'exec'))"


class SSHProvider(ExecutionProvider):
    """Blocks on machines that are reached by ssh.

    Give ``hosts`` for machines without a batch system: each block takes ``nodes_per_block`` of them. Or give ``host`` and ``provider`` for a
    cluster: that provider's commands are run on the login host. Everything goes over one connection to each, made by OpenSSH's own client:
    configuration, agents, jump hosts and second factors work as always, and questions are asked once, on the terminal.

    Args:
        hosts: names of hosts, as for ``ssh``.
        host: the login host, as for ``ssh``.
        provider: of the batch system there, such as ``SlurmProvider(…)``; it says how many blocks there are.
        tunnel: whether managers reach this machine through the connection: True; False when they can dial it; None to try.
        shares_files: whether this machine's files are there under the same paths. Otherwise nothing but plait must be installed there.
        python: the Python there, when files are not shared; None for ``python3``. A path, or what ``worker_init`` brings.
        folder: where scripts and output are kept there, when files are not shared; None for ``.plait/jobs`` in the home.
        init: a line of shell that comes before each command on a login host, such as ``. /etc/profile``.
        ssh_config: a configuration file instead of ``~/.ssh/config``.
        options: options of ssh, such as ``["Port=2222", "IdentityFile=~/.ssh/cluster"]``.
        nodes_per_block: hosts of one block.
        init_blocks: blocks that are requested at the start.
        min_blocks: blocks that are kept, whether there is work or not.
        max_blocks: blocks that there may be at once; None for as many as the hosts make.
        parallelism: how many workers are wanted for each task, from 0 to 1.
        launcher: how the command is started on each host.
        worker_init: lines of bash that come before the command, such as ``. ~/env/bin/activate``.
        cmd_timeout: seconds that a host may take to answer.

    Raises:
        ConfigurationError: a value cannot work.
        BadLauncher: the launcher is none.
    """

    #: What a ticket has of the parameters.
    _WHERE: ClassVar[tuple[str, ...]] = ("host", "folder", "init", "ssh_config")

    def __init__(
        self,
        hosts: Sequence[str] | None = None,
        *,
        host: str | None = None,
        provider: ClusterProvider | None = None,
        tunnel: bool | None = None,
        shares_files: bool = False,
        python: str | None = None,
        folder: str | None = None,
        init: str = "",
        ssh_config: str | None = None,
        options: Sequence[str] = (),
        nodes_per_block: int = 1,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int | None = None,
        parallelism: float = 1,
        launcher: Launcher | None = None,
        worker_init: str = "",
        cmd_timeout: float = 30,
    ) -> None:
        self.hosts = hosts if hosts is None else _checked_hosts(hosts)
        self.host = host if host is None else checked_host("SSHProvider", "host", host)
        self.provider = provider
        self.tunnel = tunnel if tunnel is None else checked_yes("SSHProvider", "tunnel", tunnel)
        self.tunnels = tunnel is True
        self.shares_files = checked_yes("SSHProvider", "shares_files", shares_files)
        self.python = python if python is None else checked_text("SSHProvider", "python", python)
        self.folder = folder if folder is None else checked_text("SSHProvider", "folder", folder)
        self.init = init if not init else checked_text("SSHProvider", "init", init)
        self.ssh_config = ssh_config if ssh_config is None else checked_text("SSHProvider", "ssh_config", ssh_config)
        self.options = checked_options("SSHProvider", options)
        self.cmd_timeout = checked_seconds("SSHProvider", "cmd_timeout", cmd_timeout)
        if launcher is not None and not isinstance(launcher, Launcher):
            raise BadLauncher(launcher)
        self.launcher = launcher
        self.worker_init = checked_lines("SSHProvider", "worker_init", worker_init)
        self._relay: subprocess.Popen[bytes] | None = None
        self._relays: tuple[int, int, tuple[str, ...]] | None = (
            None  # port of loopback there, port and addresses that nodes dial
        )
        self._life = 0  # the connection's, when the relay began
        if (self.hosts is None) == (self.host is None) or (self.host is None) != (provider is None):
            raise ConfigurationError(
                "SSHProvider: expected either hosts=[…], machines without a batch system, or host=… and provider=…, a login host and its batch system"
            )
        if self.hosts is not None:
            if init:
                raise ConfigurationError(
                    f"SSHProvider(init={init!r}): it is for a login host; use worker_init with hosts"
                )
            check_blocks("SSHProvider", nodes_per_block, 0, 0, 0, parallelism)
            most = len(self.hosts) // nodes_per_block if max_blocks is None else max_blocks
            check_blocks("SSHProvider", nodes_per_block, init_blocks, min_blocks, most, parallelism)
            if most * nodes_per_block > len(self.hosts):
                raise ConfigurationError(
                    f"SSHProvider(max_blocks={most!r}, nodes_per_block={nodes_per_block!r}): expected no more than its {len(self.hosts)} hosts make"
                )
            self.nodes_per_block, self.parallelism = nodes_per_block, parallelism
            self.init_blocks, self.min_blocks, self.max_blocks = init_blocks, min_blocks, most
            self._inner: HostList | ClusterProvider = HostList(
                [self._connection(one) for one in self.hosts], nodes_per_block=nodes_per_block, launcher=launcher or SingleNodeLauncher(),
                worker_init=self.worker_init, cmd_timeout=cmd_timeout, shares_files=shares_files, folder=folder,
            )  # fmt: skip
        else:
            given: list[Any] = [
                nodes_per_block,
                init_blocks,
                min_blocks,
                max_blocks,
                parallelism,
                launcher,
                worker_init,
            ]
            if given != [1, 1, 0, None, 1, None, ""]:
                raise ConfigurationError(
                    "SSHProvider(host=…, provider=…): blocks, launcher and worker_init are parameters of that provider"
                )
            self._inner = self._there(provider)

    def _connection(self, host: str) -> Connection:
        return Connection(host, ssh_config=self.ssh_config, options=self.options)

    def _there(self, provider: Any) -> ClusterProvider:
        """The given provider, with its commands on the login host. The user's own is left as it is."""
        if not isinstance(provider, ClusterProvider) or provider.shell is not None:
            raise ConfigurationError(
                f"SSHProvider(provider={provider!r}): expected a provider of a batch system with commands, such as SlurmProvider(…)"
            )
        inner = copy.copy(provider)
        inner.resources = {}
        inner.shell = SshShell(
            self._connection(str(self.host)), shares_files=self.shares_files, folder=self.folder, init=self.init
        )
        self.nodes_per_block, self.parallelism = inner.nodes_per_block, inner.parallelism
        self.init_blocks, self.min_blocks, self.max_blocks = inner.init_blocks, inner.min_blocks, inner.max_blocks
        self.cores_per_node, self.mem_per_node = inner.cores_per_node, inner.mem_per_node
        self.walltime = inner.walltime
        return inner

    # ------------------------------------------------------------------ the port
    @property
    def label(self) -> str:
        """Name of the provider."""
        return "ssh" if self.provider is None else f"ssh.{self._inner.label}"

    @property
    def status_polling_interval(self) -> float:
        """Seconds between two looks when nothing happens."""
        return min(self._inner.status_polling_interval, _POLL_S)

    @property
    def script_dir(self) -> str | None:
        """Folder of this machine for what jobs wrote."""
        return self._inner.script_dir

    @script_dir.setter
    def script_dir(self, folder: str | None) -> None:
        self._inner.script_dir = folder

    @property
    def resources(self) -> dict[str, Any]:
        """What is known of the jobs."""
        return self._inner.resources

    def submit(self, command: str, tasks_per_node: int, job_name: str = "plait.auto") -> str:
        """Begins a job; its id. See `ExecutionProvider.submit`."""
        self._open()
        return self._inner.submit(command, tasks_per_node, job_name)

    def submit_many(self, requests: Sequence[tuple[str, int, str]]) -> list[str | Exception]:
        """See `ExecutionProvider.submit_many`."""
        self._open()
        return self._inner.submit_many(requests)

    def status(self, job_ids: Sequence[str]) -> list[JobStatus]:
        """How jobs are. What cannot be reached now is as it was last seen."""
        found = self._inner.status(job_ids)
        self._keep_relay()
        return found

    def cancel(self, job_ids: Sequence[str]) -> list[bool]:
        """Ends jobs."""
        return self._inner.cancel(job_ids)

    def close(self) -> None:
        """Removes files from a login host, and ends the connections."""
        if isinstance(self._inner, ClusterProvider) and not self.shares_files:
            self._remove_files(self._inner)
        self._end_relay()
        self._relays = None
        for connection in self._connections():
            connection.close()

    def _remove_files(self, inner: ClusterProvider) -> None:
        """Of jobs that have ended, or were cancelled: scripts have keys in them, if only of blocks that are no more."""
        over = [
            job for job in inner.resources.values() if job.path and (job.case.status.terminal or job.case.cancelled)
        ]
        paths = [f"{job.path}.{ending}" for job in over for ending in ("sh", "out", "err", "ec")]
        try:
            if self._shell.connection.is_up:  # else nobody waits for one that cannot be reached
                self._shell.remove(*paths)
        except CommandFailed as error:
            _logger.info("ssh: %s", text_of(error))

    def _open(self) -> None:
        for connection in self._connections():
            connection.open()

    def _connections(self) -> list[Connection]:
        if isinstance(self._inner, HostList):
            return [shell.connection for shell in self._inner.shells.values()]
        return [self._shell.connection]

    @property
    def _shell(self) -> SshShell:
        """Of the login host, or of the first of the hosts."""
        if isinstance(self._inner, HostList):
            return next(iter(self._inner.shells.values()))
        assert isinstance(self._inner.shell, SshShell)  # noqa: S101 - `_there` gave it
        return self._inner.shell

    # ------------------------------------------------------------------ ways back
    def route(self, addresses: Sequence[str], port: int) -> tuple[list[str], int]:
        """Where managers reach this machine: as they are told, or through the connection.

        Raises:
            CommandFailed: there is no way.
        """
        self._open()
        if self.tunnel is False or (self.tunnel is None and self._reaches(addresses, port)):
            return list(addresses), port
        address = addresses[0]
        if isinstance(self._inner, HostList):
            return ["127.0.0.1"], self._inner.way_back(address, port)
        there = self._shell.connection.forward(address, port)
        self._relays = (there, 0, ())
        self._begin_relay()
        return list(self._relays[2]), self._relays[1]

    def _reaches(self, addresses: Sequence[str], port: int) -> bool:
        """Whether the login host, or the first of the hosts that answers, can dial this machine."""
        shells = [self._shell] if not isinstance(self._inner, HostList) else list(self._inner.shells.values())
        far = [address for address in addresses if not address.startswith("127.") and address != "::1"]
        for shell in shells:
            try:
                done = shell.run(["bash", "-c", _PROBE, "plait", str(port), *far], timeout_s=_RELAY_S)
            except CommandFailed as error:
                _logger.info("ssh: %s: %s", shell.connection.host, text_of(error))
                continue
            return bool(far) and "reached" in done.out
        return False

    def _begin_relay(self) -> None:
        """Starts what hands connections of compute nodes to the way back.

        Raises:
            CommandFailed: it does not start.
        """
        from importlib.resources import files

        assert self._relays is not None  # noqa: S101 - `route` says what it is for
        there, port, addresses = self._relays
        text = (files("plait.providers") / "ssh_relay.py").read_bytes()
        words = [self.python or "python3", "-c", _RELAY, str(len(text)), str(there), str(port), *addresses]
        connection = self._shell.connection
        line = f"{self.init}; exec {shlex.join(words)}" if self.init else f"exec {shlex.join(words)}"
        self._relay = connection.popen(f"exec /bin/sh -c {shlex.quote(line)}")
        assert self._relay.stdin is not None  # noqa: S101 - a pipe
        assert self._relay.stdout is not None  # noqa: S101 - a pipe
        try:
            self._relay.stdin.write(text)
            self._relay.stdin.flush()
            said = _line(self._relay, _RELAY_S)
        except OSError:
            said = []
        if said[:1] != ["plait-relay"]:
            self._end_relay()
            raise CommandFailed(
                (words[0], "-c", "…"), None, "", "", f"on {connection.host}: the relay for its compute nodes does not start with this Python"
            )  # fmt: skip
        self._relays = (there, int(said[1]), tuple(said[2:]))
        self._life = connection.lives

    def _keep_relay(self) -> None:
        """Starts it again when it is gone, on the same port: managers dial again by themselves."""
        if self._relays is None:
            return
        if self._relay is not None and self._relay.poll() is None and self._life == self._shell.connection.lives:
            return
        self._end_relay()
        try:
            self._begin_relay()
        except CommandFailed as error:
            _logger.info("ssh: %s", text_of(error))

    def _end_relay(self) -> None:
        relay, self._relay = self._relay, None
        if relay is None:
            return
        for stream in (relay.stdin, relay.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    pass
        try:
            relay.wait(2.0)
        except subprocess.TimeoutExpired:
            relay.kill()
            relay.wait()

    # ------------------------------------------------------------------ tickets
    def ticket(self, job_id: str, job_name: str = "") -> dict[str, str] | None:
        """See `ExecutionProvider.ticket`."""
        where = {name: str(value) for name in self._WHERE if (value := getattr(self, name))}
        found = {"system": "ssh", "job": job_id, **where, "options": json.dumps(self.options)}
        if isinstance(self._inner, HostList):
            name = job_id or self._inner.final_name(job_name)
            job = self._inner.resources.get(job_id)
            hosts = self.hosts if job is None else [place.host for place in job.places]
            return {**found, "name": name, "hosts": json.dumps(hosts), "script_dir": self.script_dir or ""}
        inner = self._inner.ticket(job_id, job_name)
        return {**found, "name": inner["name"], "inner": json.dumps(inner)}

    @classmethod
    def from_ticket(cls, ticket: Mapping[str, str]) -> SSHProvider:
        """A provider for the job of a ticket."""
        where: dict[str, Any] = {name: ticket[name] for name in cls._WHERE if name in ticket}
        where["options"] = json.loads(ticket["options"])
        if "inner" not in ticket:
            provider = cls(json.loads(ticket["hosts"]), **where)
            provider.script_dir = ticket["script_dir"]
            return provider
        from plait.providers.tickets import recall

        inner, _ = recall(json.loads(ticket["inner"]))
        assert isinstance(inner, ClusterProvider)  # noqa: S101 - no other is driven on a login host
        return cls(provider=inner, **where)

    def adopt(self, ticket: Mapping[str, str]) -> str:
        """Takes over a job that another process began; its id here."""
        if isinstance(self._inner, HostList):
            return self._inner.adopt(ticket["name"], f"{ticket['script_dir']}/{ticket['name']}")
        return self._inner.adopt(json.loads(ticket["inner"]))

    def __repr__(self) -> str:
        return represent(self)


def _checked_hosts(hosts: Any) -> list[str]:
    if not isinstance(hosts, (list, tuple)) or not hosts:
        raise ConfigurationError(f"SSHProvider(hosts={hosts!r}): expected a list of names of hosts")
    names = [checked_host("SSHProvider", "hosts", host) for host in hosts]
    if len({*names}) < len(names):
        raise ConfigurationError(f"SSHProvider(hosts={hosts!r}): expected each host once")
    return names


def _line(process: subprocess.Popen[bytes], timeout_s: float) -> list[str]:
    """The words of the first line that a process writes; none when it does not."""
    assert process.stdout is not None  # noqa: S101 - a pipe
    deadline_s = time.monotonic() + timeout_s
    data = b""
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    while b"\n" not in data and (left_s := deadline_s - time.monotonic()) > 0:
        if not poll.poll(1000 * left_s):
            break
        chunk = os.read(process.stdout.fileno(), 4096)
        if not chunk:
            break
        data += chunk
    return data.decode("utf-8", "replace").split("\n", 1)[0].split() if b"\n" in data else []
