"""``plait init``: writes a configuration for this machine, with what was found here and what else there would be, as comments."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plait._util.files import write_whole
from plait.cli.main import DONE
from plait.configfile.kinds import UnknownName
from plait.configfile.reading import Reader
from plait.configfile.writing import inline
from plait.errors import ConfigurationError
from plait.executors.htex.addresses import host_addresses
from plait.sites import find_site, sites
from plait.sites.machine import SCHEDULERS, look
from plait.sites.queues import choose, clock

if TYPE_CHECKING:
    from plait.sites import Site
    from plait.sites.machine import Machine, Scheduler
    from plait.sites.queues import Queue

#: What a block is asked for where its queue allows that.
_WALLTIME_S: Final = 3600.0


@dataclass(frozen=True)
class Order:
    """What was asked for on the command line.

    Attributes:
        file: to write.
        site: of the catalogue, to begin with; None for what is found on this machine.
        values: ``NAME=VALUE``, for parameters.
        scheduler: the batch system to write for; None for the one that is found.
        force: whether to write over a file.
        show: whether to print and write nothing.
    """

    file: str = "plait.toml"
    site: str | None = None
    values: tuple[str, ...] = ()
    scheduler: str | None = None
    force: bool = False
    show: bool = False


def init(order: Order, *, as_json: bool) -> int:
    """Writes the file and says what is in it; returns the exit code.

    Raises:
        ConfigurationError: there is a file already, or what was asked for cannot be done.
    """
    known = [scheduler.system for scheduler in SCHEDULERS]
    if order.scheduler not in {None, "none", *known}:
        raise ConfigurationError(f"--scheduler {order.scheduler}: expected one of {', '.join(known)}, none")
    if not order.show and not order.force and os.path.lexists(order.file):
        raise ConfigurationError(
            f"{order.file} is there already; --force writes over it, --print shows what would be written"
        )
    values = dict(map(_value, order.values))
    said: list[str] = []
    machine = None
    if order.site is not None:
        text = _of_site(find_site(order.site), values, said)
    else:
        machine = look("" if order.scheduler == "none" else order.scheduler, host_addresses())
        queue = values.get(machine.schedulers[0].queue, (None, None))[1] if machine.schedulers else None
        text = _set(of_machine(machine, queue), values)
        _say_machine(machine, said)
    if not order.show:
        _write(order, text)
    if as_json:
        print(json.dumps({"file": None if order.show else order.file, "text": text,
                          "machine": None if machine is None else machine.data()}, indent=2))  # fmt: skip
        return DONE
    if order.show:
        print(text, end="")
        return DONE
    for line in said:
        print(line)
    print(
        f"Wrote {order.file}. Next: `plait check {order.file}` looks at it, `plait check {order.file} --submit` tries the queue."
    )
    return DONE


def _write(order: Order, text: str) -> None:
    try:
        if order.force:
            write_whole(order.file, text)
        else:
            with open(order.file, "x", encoding="utf-8") as file:  # fails when somebody has written one meanwhile
                file.write(text)
    except OSError as error:
        raise ConfigurationError(f"{order.file}: it cannot be written ({error.strerror or error})") from None


# ------------------------------------------------------------------ values from the command line
def _value(text: str) -> tuple[str, tuple[Any, str]]:
    """``max_blocks=4``: what it is as TOML, where it is some, and its text."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ConfigurationError(f"--set {text}: expected NAME=VALUE, such as account=m1234 or max_blocks=4")
    from plait.configfile.toml import parse

    try:
        return name, (parse(f"value = {value}", "--set")["value"], value)
    except ConfigurationError:
        return name, (value, value)


def _set(text: str, values: dict[str, tuple[Any, str]]) -> str:
    """The text with parameters set in all objects that have them.

    Raises:
        ConfigurationError: nothing has such a parameter, or it cannot have that value.
    """
    if not values:
        return text
    import tomlkit

    from plait.config import Config

    reader = Reader(text, "this configuration")
    document: Any = tomlkit.parse(text)
    for name, (value, said) in values.items():
        try:
            places = reader.places_of(name, Config)
        except UnknownName as error:
            raise ConfigurationError(f"--set {name}={said}: {error}") from None
        for path in places:
            target = document
            for step in path:
                target = target[step]
            wanted = reader.expected_at(path, name, Config)
            is_plain = not isinstance(value, (list, dict))
            target[name] = said if is_plain and not wanted.takes(value) and wanted.takes("text") else value
    changed = str(tomlkit.dumps(document))
    whole = Reader(changed, "--set")
    if not whole.missing(Config):
        whole.read(Config)  # it can be said now that a value cannot be
    return changed


def _of_site(site: Site, values: dict[str, tuple[Any, str]], said: list[str]) -> str:
    from plait.config import Config

    said.append(f"{site.name}: {site.description} ({site.centre})")
    if site.notes:
        said.append(site.notes)
    text = _set(site.text, values)
    missing = [str(path[-1]) for path in Reader(text, site.name).missing(Config)]
    if missing:
        said.append(
            f"It needs {', '.join(dict.fromkeys(missing))} from you: write them into the file, or use --set {missing[0]}=…"
        )
    return f"# From the catalogue of sites: {site.name} ({site.origin}). Change it as you like.\n\n{text}"


def _say_machine(machine: Machine, said: list[str]) -> None:
    if machine.schedulers:
        said.append(f"Found {machine.schedulers[0].title}" + _and_others(machine) + ".")
        if machine.queues is None and machine.schedulers[0].system not in {"condor", "kubernetes"}:
            said.append("  It does not say which queues it has: are its commands set up, and is it up?")
        said.extend(f"  {queue}" for queue in machine.queues or [])
    else:
        said.append("Found no batch system: blocks will be processes of this machine.")
    if machine.gpus:
        said.append(f"Found {machine.gpus} {machine.gpu_vendor} GPUs on this machine.")
    wrong: list[str] = []
    here = [site.name for site in sites(wrong) if site.is_here()]
    for problem in wrong:
        print(f"plait: left out: {problem}", file=sys.stderr)
    if here:
        said.append(
            f"This looks like {' or '.join(here)} of the catalogue: `plait init --site {here[0]} --force` begins with that."
        )


def _and_others(machine: Machine) -> str:
    others = machine.schedulers[1:]
    if not others:
        return ""
    return f" (also {', '.join(each.title for each in others)}: --scheduler {others[0].system})"


# ------------------------------------------------------------------ the text
def of_machine(machine: Machine, wanted: object = None) -> str:
    """The text of a configuration for a machine.

    Args:
        machine: what was found.
        wanted: name of the queue to write for; None for the likeliest.
    """
    scheduler = machine.schedulers[0] if machine.schedulers else None
    queues = machine.queues or []
    queue = next((each for each in queues if each.name == wanted), None) or choose(queues)
    lines = [
        "# How plait runs on this machine. Written by `plait init`; every key is explained in the reference of configuration files.",
        '# `plait check` looks at this file, `plait run script.py` uses it, and so does plait.load("plait.toml").',
        "",
        "# retries = 1                  # failures that a task may have and still be tried again",
        '# run_dir = "runinfo"          # where runs put their files; nodes must see this folder',
        "",
        "[[executors]]",
        'type = "HighThroughputExecutor"',
        f"label = {inline(scheduler.system if scheduler else 'local')}",
        *_workers(machine, queue, scheduler),
        *_network(machine, scheduler),
        "",
        "[executors.provider]",
        *_provider(machine, scheduler, queue),
    ]
    return "\n".join(lines) + "\n"


def _workers(machine: Machine, queue: Queue | None, scheduler: Scheduler | None) -> list[str]:
    cores = queue.cores if queue is not None and queue.cores else 0
    lines = [f"# max_workers_per_node = {cores or machine.cores}    # by default one for each core of a node"]
    gpus = queue.gpus if queue is not None else 0
    if scheduler is None and machine.gpus:
        gpus = machine.gpus
    if gpus:
        lines.append(f"available_accelerators = {gpus}     # GPUs of a node: each is given to one worker")
    return lines


def _network(machine: Machine, scheduler: Scheduler | None) -> list[str]:
    if scheduler is None or len(machine.interfaces) < 2:
        return []
    return [
        "# Nodes try all addresses of this machine and keep the one that answers. To name one:",
        *(f"# address = {inline(address)}    # {name}" for name, address in machine.interfaces[:6]),
    ]


def _provider(machine: Machine, scheduler: Scheduler | None, queue: Queue | None) -> list[str]:
    kind = scheduler.provider if scheduler is not None else "LocalProvider"
    lines = [f"type = {inline(kind)}"]
    if scheduler is None:
        return [*lines, "max_blocks = 1", *_worker_init(machine)]
    if kind == "KubernetesProvider":
        lines.append('image = "python:3.11"          # needs plait and the packages of your tasks')
    lines += _queue(scheduler, machine.queues, queue)
    if scheduler.account:
        those = f"yours: {', '.join(machine.accounts)}" if machine.accounts else "where the site wants to know"
        lines.append(f'# {scheduler.account} = "…"              # whose time is used; {those}')
    if scheduler.system not in {"condor", "kubernetes"}:
        limit = min(_WALLTIME_S, queue.walltime_s if queue is not None else math.inf)
        lines.append(f'walltime = "{clock(limit)}"        # of one block')
    lines += [
        "nodes_per_block = 1            # nodes that are requested together, as one job",
        "init_blocks = 1                # blocks at the start",
        "min_blocks = 0                 # blocks that are kept when there is nothing to do",
        "max_blocks = 4                 # blocks at once, at most",
    ]
    if scheduler.system == "slurm":
        lines.append("# exclusive = false            # let other jobs use the rest of a node")
        if queue is not None and queue.gpus:
            lines.append(f"gpus_per_node = {queue.gpus}")
    if scheduler.system != "kubernetes":  # an image has nothing of this machine
        lines += _worker_init(machine)
    if scheduler.system == "slurm":
        lines += [
            "",
            "[executors.provider.launcher]",
            'type = "SrunLauncher"          # one manager on each node of a block',
        ]
    if scheduler.system == "torque" and shutil.which("aprun") is None:  # else it would be the Cray's
        lines += [
            "",
            "[executors.provider.launcher]",
            'type = "SimpleLauncher"        # for blocks of one node; MpiExecLauncher for larger ones',
        ]
    return lines


def _queue(scheduler: Scheduler, queues: list[Queue] | None, queue: Queue | None) -> list[str]:
    if not scheduler.queue or scheduler.system == "kubernetes":
        return []
    if not queues:
        return [f'# {scheduler.queue} = "…"            # the default one if there is none']
    lines = [f"# {scheduler.title} has these:", *(f"#   {each}" for each in queues)]
    return [*lines, f"{scheduler.queue} = {inline(queue.name)}" if queue is not None else f'# {scheduler.queue} = "…"']


def _worker_init(machine: Machine) -> list[str]:
    commands = [*(f"module load {module}" for module in machine.modules), *machine.activation]
    if not commands:
        return ['# worker_init = "module load …"   # lines of bash before the workers start']
    return [
        "# Lines of bash before the workers start: what is active here, so that jobs find the same programs.",
        f"worker_init = {inline(chr(10).join(commands))}",
    ]
