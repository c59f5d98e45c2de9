"""What can be found out about this machine without asking anybody: its batch system, GPUs, networks, and the environment of this Python."""

from __future__ import annotations

import getpass
import glob
import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from plait.providers.shell import CommandFailed, LocalShell
from plait.sites.queues import Queue, find_accounts, find_queues

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from plait.providers.shell import Finished

#: Seconds that a command of a batch system may take.
_TIMEOUT_S: Final = 15.0


@dataclass(frozen=True)
class Scheduler:
    """A batch system.

    Attributes:
        system: its name in plait.
        title: for people.
        provider: plait's class for it.
        commands: that it is used with.
        queue: the provider's parameter for queues; empty when there is none.
        account: likewise for accounts.
    """

    system: str
    title: str
    provider: str
    commands: tuple[str, ...]
    queue: str = "queue"
    account: str = ""


#: All that can be found, the likeliest first where several are.
SCHEDULERS: Final = (
    Scheduler("slurm", "Slurm", "SlurmProvider", ("sbatch", "squeue", "scancel"), "partition", "account"),
    Scheduler("flux", "Flux", "FluxProvider", ("flux",), "queue", "bank"),
    Scheduler("gridengine", "Grid Engine", "GridEngineProvider", ("qsub", "qstat", "qdel"), "queue"),
    Scheduler("pbspro", "PBS Pro or OpenPBS", "PBSProProvider", ("qsub", "qstat", "qdel"), "queue", "account"),
    Scheduler("torque", "Torque", "TorqueProvider", ("qsub", "qstat", "qdel"), "queue", "account"),
    Scheduler("lsf", "LSF", "LSFProvider", ("bsub", "bjobs", "bkill"), "queue", "project"),
    Scheduler("condor", "HTCondor", "CondorProvider", ("condor_submit", "condor_q", "condor_rm"), "", "project"),
    Scheduler("kubernetes", "Kubernetes", "KubernetesProvider", ("kubectl",), "namespace"),
)


@dataclass(frozen=True)
class Machine:
    """What was found.

    Attributes:
        schedulers: batch systems whose commands are here.
        queues: of the first of them; None when it does not say.
        accounts: of this user there; empty when it does not say.
        gpus: of this machine: names as CUDA or ROCm count them.
        gpu_vendor: ``NVIDIA``, ``AMD`` or ``Intel``.
        interfaces: networks, the likeliest first: (interface, address).
        activation: lines of bash that bring this Python's environment back.
        modules: loaded by the site's module command.
    """

    schedulers: tuple[Scheduler, ...] = ()
    queues: list[Queue] | None = None
    accounts: tuple[str, ...] = ()
    gpus: int = 0
    gpu_vendor: str = ""
    interfaces: tuple[tuple[str, str], ...] = ()
    activation: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    cores: int = field(default_factory=lambda: os.cpu_count() or 1)

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "schedulers": [scheduler.system for scheduler in self.schedulers],
            "accounts": list(self.accounts),
            "queues": None if self.queues is None else [queue.data() for queue in self.queues],
            "gpus": self.gpus,
            "gpu_vendor": self.gpu_vendor or None,
            "interfaces": [{"interface": name, "address": address} for name, address in self.interfaces],
            "activation": list(self.activation),
            "modules": list(self.modules),
            "cores": self.cores,
        }


def look(scheduler: str | None = None, addresses: Iterable[str] = ()) -> Machine:
    """Looks at this machine. Commands that do not answer say nothing, and hold it up for some seconds.

    Args:
        scheduler: the batch system to look at, by its name; None for those that are found.
        addresses: of this machine, by which others may reach it.
    """
    found = find_schedulers()
    if scheduler is not None:
        found = [each for each in SCHEDULERS if each.system == scheduler]
    queues = None
    for number, each in enumerate(found):
        queues = find_queues(each.system, run)
        if queues is not None:  # one that answers is the one in use
            found.insert(0, found.pop(number))
            break
    gpus, vendor = find_gpus()
    return Machine(
        schedulers=tuple(found),
        queues=queues,
        accounts=tuple(find_accounts(found[0].system, user(), run)) if queues is not None else (),
        gpus=gpus,
        gpu_vendor=vendor,
        interfaces=tuple(with_interfaces(addresses)),
        activation=tuple(activation(os.environ)),
        modules=tuple(module for module in os.environ.get("LOADEDMODULES", "").split(":") if module),
    )


def user() -> str:
    """Who runs this."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in containers
        return str(os.getuid())


def run(*argv: str) -> str | None:
    """What a command writes; None when it is not there, fails, or takes too long."""
    done = _ran(*argv)
    return done.out if done is not None and done.code == 0 else None


def _ran(*argv: str) -> Finished | None:
    """A command that ended. One that takes too long is ended with what it started: at many sites they are scripts around the real ones."""
    try:
        return LocalShell().run(argv, timeout_s=_TIMEOUT_S)
    except CommandFailed:
        return None


# ------------------------------------------------------------------ batch systems
def find_schedulers() -> list[Scheduler]:
    """Batch systems whose commands are on PATH. Several have commands of the same names: their answers tell them apart."""
    return [each for each in SCHEDULERS if all(map(shutil.which, each.commands)) and _is_it(each.system)]


def _is_it(system: str) -> bool:
    if system in {"gridengine", "pbspro", "torque"}:
        return _qsub_of() == system
    if system == "kubernetes":
        return bool((run("kubectl", "config", "current-context") or "").strip())
    return True


def _qsub_of() -> str:
    """Whose ``qsub`` it is."""
    if shutil.which("qconf"):
        return "gridengine"
    done = _ran("qstat", "--version")
    text = done.out + done.err if done is not None else ""
    if "pbs_version" in text:
        return "pbspro"
    return "torque" if re.search(r"^version:", text, re.IGNORECASE | re.MULTILINE) else ""


# ------------------------------------------------------------------ hardware
def find_gpus() -> tuple[int, str]:
    """GPUs of this machine, and whose they are. A login node often has none where the nodes have some."""
    listed = run("nvidia-smi", "--list-gpus") if shutil.which("nvidia-smi") else None
    if listed is not None:
        return len(re.findall(r"^GPU \d+:", listed, re.MULTILINE)), "NVIDIA"
    devices = glob.glob("/dev/nvidia[0-9]*")
    if devices:
        return len(devices), "NVIDIA"
    vendors = {"0x1002": "AMD", "0x8086": "Intel"}
    found: dict[str, int] = {}
    for path in glob.glob("/sys/class/drm/renderD*/device/vendor"):
        try:
            with open(path, encoding="ascii") as file:
                vendor = vendors.get(file.read().strip())
        except (OSError, UnicodeDecodeError):
            continue
        if vendor == "AMD" and not os.path.exists("/dev/kfd"):  # a screen's
            continue
        if vendor is not None:
            found[vendor] = found.get(vendor, 0) + 1
    amd = found.get("AMD", 0)
    return (amd, "AMD") if amd else (0, "")  # Intel's are in most desktops, and seldom for computing


def with_interfaces(addresses: Iterable[str]) -> list[tuple[str, str]]:
    """Addresses with the interfaces that have them: (interface, address)."""
    import psutil

    names = {each.address: name for name, those in psutil.net_if_addrs().items() for each in those}
    return [(names.get(address, "?"), address) for address in addresses]


# ------------------------------------------------------------------ this Python
def activation(environ: Mapping[str, str]) -> list[str]:
    """Lines of bash that a job needs so that the programs of this environment are found there.

    Args:
        environ: this process's variables.
    """
    prefix = environ.get("CONDA_PREFIX")
    if prefix and _is_inside(sys.executable, prefix):
        base = os.path.dirname(os.path.dirname(environ["CONDA_EXE"])) if "CONDA_EXE" in environ else prefix
        script = os.path.join(base, "etc", "profile.d", "conda.sh")
        return [f"source {shlex.quote(script)}", f"conda activate {shlex.quote(prefix)}"]
    if sys.prefix != sys.base_prefix:
        return [f"source {shlex.quote(os.path.join(sys.prefix, 'bin', 'activate'))}"]
    return []


def _is_inside(path: str, folder: str) -> bool:
    return os.path.abspath(path).startswith(os.path.abspath(folder) + os.sep)
