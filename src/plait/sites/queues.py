"""Queues of batch systems, which some call partitions: what their commands say of them. Reading is apart from asking, so that it can be tried on recordings."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from plait.model.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    #: Runs a command; what it wrote, or None when it failed.
    Ask = Callable[..., "str | None"]


@dataclass(frozen=True)
class Queue:
    """A queue, or partition, that jobs can be given to.

    Attributes:
        name: of it.
        default: whether jobs go there that name none.
        open: whether it takes jobs and begins them.
        walltime_s: the longest job; infinite when it has no limit.
        nodes: how many it has; 0 when that is not known.
        max_nodes: of one job; 0 when that is not known or not limited.
        cores: of its smallest node; 0 when that is not known.
        memory_gb: likewise.
        gpus: of a node, at most.
        gpu_kind: what these are called.
        notes: anything else that a user should see.
        routes: whether it runs no jobs itself and gives them to other queues.
    """

    name: str
    default: bool = False
    open: bool = True
    walltime_s: float = math.inf
    nodes: int = 0
    max_nodes: int = 0
    cores: int = 0
    memory_gb: float = 0.0
    gpus: int = 0
    gpu_kind: str = ""
    notes: tuple[str, ...] = field(default=())
    routes: bool = False

    @property
    def walltime(self) -> str:
        """``24:00:00``, or ``no limit``."""
        return "no limit" if math.isinf(self.walltime_s) else clock(self.walltime_s)

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name, "default": self.default, "open": self.open,
            "walltime": None if math.isinf(self.walltime_s) else self.walltime,
            "nodes": self.nodes or None, "max_nodes": self.max_nodes or None, "cores": self.cores or None,
            "memory_gb": self.memory_gb or None, "gpus": self.gpus,
        }  # fmt: skip

    def __str__(self) -> str:
        parts = [f"walltime {self.walltime}"]
        if self.nodes:
            parts.append(f"{self.nodes} node{'s' if self.nodes > 1 else ''}")
        if self.max_nodes:
            parts.append(f"at most {self.max_nodes} in one job")
        if self.cores:
            parts.append(f"{self.cores} cores")
        if self.memory_gb:
            parts.append(f"{self.memory_gb:.0f} GB")
        if self.gpus:
            parts.append(f"{self.gpus} GPUs{f' ({self.gpu_kind})' if self.gpu_kind else ''}")
        parts += self.notes
        return f"{self.name}: {', '.join(parts)}{'' if self.open else ' (closed)'}{' (the default)' if self.default else ''}"


def clock(seconds: float) -> str:
    """``hours:minutes:seconds``."""
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def find_queues(system: str, ask: Ask, *slurm_options: str) -> list[Queue] | None:
    """The queues of a batch system, the default one first; None when it has none, or does not say.

    Args:
        system: as `plait.sites.machine.SCHEDULERS` names it.
        ask: runs a command.
        slurm_options: more options of Slurm's: for queues that it shows only when it is asked to.
    """
    if system == "slurm":
        found = _ask_slurm(ask, *slurm_options)
    else:
        reader = _READERS.get(system)
        found = None if reader is None else reader(ask)
    return None if found is None else sorted(found, key=lambda queue: not queue.default)


# ------------------------------------------------------------------ Slurm
_SINFO: Final = "--format=%P|%a|%l|%D|%c|%m|%G|%s"


def slurm(out: str) -> list[Queue]:
    """From ``sinfo``: a line for each kind of nodes of each partition."""
    found: dict[str, Queue] = {}
    for line in out.splitlines():
        fields = line.strip().split("|")
        if len(fields) != 8:
            continue
        name, state, limit, nodes, cores, memory, gres, size = fields
        gpus, kind = _gres(gres)
        most = size.rpartition("-")[2]
        one = Queue(
            name.rstrip("*"),
            default=name.endswith("*"),
            open=state == "up",
            walltime_s=_slurm_time(limit),
            nodes=_whole(nodes),
            max_nodes=_whole(most),
            cores=_whole(cores),
            memory_gb=_whole(memory) / 1024,
            gpus=gpus,
            gpu_kind=kind,
        )
        other = found.get(one.name)
        found[one.name] = one if other is None else _together(one, other)
    return list(found.values())


def _together(one: Queue, other: Queue) -> Queue:
    """Two kinds of nodes of one queue."""
    return replace(
        other,
        nodes=one.nodes + other.nodes,
        cores=min(one.cores, other.cores),
        memory_gb=min(one.memory_gb, other.memory_gb),
        gpus=max(one.gpus, other.gpus),
        gpu_kind=one.gpu_kind if one.gpus > other.gpus else other.gpu_kind,
    )


def _gres(text: str) -> tuple[int, str]:
    """``gpu:a100:4(S:0-1),nvme:1`` -> (4, "a100")."""
    for match in re.finditer(r"(?:^|,)gpu(?::([A-Za-z][\w.-]*))?(?::(\d+))?", text):
        return int(match[2] or 1), match[1] or ""
    return 0, ""


def _slurm_time(text: str) -> float:
    """``1-02:00:00``, ``30:00`` (minutes), ``infinite``."""
    days, dash, rest = text.strip().partition("-")
    if not dash:
        days, rest = "0", text.strip()
    if not days.isdigit() or not re.fullmatch(r"\d+(:\d+){0,2}", rest):
        return math.inf
    fields = [int(each) for each in rest.split(":")]
    if dash:
        fields += [0] * (3 - len(fields))
    elif len(fields) == 1:
        fields = [0, fields[0], 0]
    elif len(fields) == 2:
        fields = [0, *fields]
    return int(days) * 86400 + fields[0] * 3600 + fields[1] * 60 + fields[2]


def _ask_slurm(ask: Ask, *options: str) -> list[Queue] | None:
    out = ask("sinfo", "--noheader", *options, _SINFO)
    return None if out is None else slurm(out)


# ------------------------------------------------------------------ PBS Pro, OpenPBS, Torque
def pbs(out: str) -> list[Queue]:
    """From ``qstat -Q -f``, as text or as JSON."""
    if out.lstrip().startswith("{"):
        try:
            document = json.loads(out).get("Queue", {})
        except (ValueError, AttributeError):
            return []
        return [_pbs_queue(name, table) for name, table in document.items()]
    found = []
    for part in re.split(r"^Queue:\s*", out, flags=re.MULTILINE)[1:]:
        name, _, rest = part.partition("\n")
        table: dict[str, Any] = {}
        for line in re.sub(r"\n\t", "", rest).splitlines():
            key, equals, value = line.strip().partition(" = ")
            group, dot, inner = key.partition(".")
            if equals and dot:
                table.setdefault(group, {})[inner] = value
            elif equals:
                table[key] = value
        found.append(_pbs_queue(name.strip(), table))
    return found


def _pbs_queue(name: str, table: dict[str, Any]) -> Queue:
    most = table.get("resources_max", {})
    routes = str(table.get("queue_type", "Execution")).startswith(("R", "r"))
    notes: tuple[str, ...] = ("gives jobs to other queues",) if routes else ()
    if "acl_groups" in table or "acl_users" in table:
        notes += ("for some users only",)
    return Queue(
        name,
        routes=routes,
        open=str(table.get("enabled")) == "True" and str(table.get("started")) == "True",
        walltime_s=_time(most.get("walltime")),
        max_nodes=_whole(most.get("nodect")),
        notes=notes,
    )


def _ask_pbs(ask: Ask, *words: str) -> list[Queue] | None:
    out = ask("qstat", "-Q", "-f", *words)
    if out is None:
        return None
    server = ask("qstat", "-B", "-f") or ""
    match = re.search(r"default_queue = (\S+)", server)
    default = match[1] if match else ""
    return [replace(queue, default=queue.name == default) for queue in pbs(out)]


# ------------------------------------------------------------------ LSF
def lsf(out: str) -> list[Queue]:
    """From ``bqueues -l``."""
    found = []
    for part in re.split(r"^QUEUE:\s*", out, flags=re.MULTILINE)[1:]:
        name = part.split(None, 1)[0]
        most = part.rpartition("MAXIMUM LIMITS:")[2]  # above it is what jobs get that ask for nothing
        limit = re.search(r"^\s*RUNLIMIT\s*\n\s*([\d.]+)\s*min", most, re.MULTILINE)
        found.append(
            Queue(
                name,
                default=bool(re.search(r"This is (the|a) default queue", part)),
                open=bool(re.search(r"\bOpen:(Active|Inact_Win)\b", part)),
                walltime_s=float(limit[1]) * 60 if limit else math.inf,
                notes=("begins jobs at certain hours only",) if "Open:Inact_Win" in part else (),
            )
        )
    return found


def _ask_lsf(ask: Ask) -> list[Queue] | None:
    out = ask("bqueues", "-l")
    return None if out is None else lsf(out)


# ------------------------------------------------------------------ Grid Engine
def grid_engine(name: str, out: str) -> Queue:
    """From ``qconf -sq NAME``."""
    table: dict[str, str] = {}
    for line in out.replace("\\\n", " ").splitlines():
        key, _, value = line.strip().partition(" ")
        table[key] = value.strip()
    environments = [each for each in re.split(r"[\s,]+", table.get("pe_list", "")) if each not in {"", "NONE"}]
    notes = (f"parallel environments: {' '.join(environments)}",) if environments else ()
    return Queue(
        name,
        walltime_s=min(_time(table.get("h_rt")), _time(table.get("s_rt"))),
        cores=_whole(table.get("slots", "").partition(",")[0]),
        notes=notes,
    )


def _ask_grid_engine(ask: Ask) -> list[Queue] | None:
    names = ask("qconf", "-sql")
    if names is None:
        return None
    return [grid_engine(name, out) for name in names.split() if (out := ask("qconf", "-sq", name)) is not None]


# ------------------------------------------------------------------ Flux
def flux(out: str) -> list[Queue]:
    """From ``flux queue list``: a table whose columns differ between versions."""
    lines = [line.split() for line in out.splitlines() if line.strip()]
    if not lines or "QUEUE" not in lines[0]:
        return []
    columns = lines[0]
    found = []
    for fields in lines[1:]:
        row = dict(zip(columns, fields, strict=False))
        name = row.get("QUEUE", "")
        found.append(
            Queue(
                name.rstrip("*"),
                default=name.endswith("*"),
                open=not any(row.get(key) == "✗" for key in ("EN", "ST")),
                walltime_s=_time(row.get("TLIMIT")) or math.inf,
                max_nodes=_whole(row.get("NNODES", "").rpartition("-")[2]),
            )
        )
    return [queue for queue in found if queue.name]


def _ask_flux(ask: Ask) -> list[Queue] | None:
    out = ask("flux", "queue", "list")
    return None if out is None else flux(out)


# ------------------------------------------------------------------ accounts
def find_accounts(system: str, user: str, ask: Ask) -> list[str]:
    """Accounts that a user may name, where the batch system says; empty where it does not.

    Args:
        system: the batch system.
        user: who asks.
        ask: runs a command.
    """
    if system != "slurm":
        return []
    out = ask("sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={user}", "format=account")
    return sorted({line.strip() for line in (out or "").splitlines() if line.strip()})


# ------------------------------------------------------------------
_READERS: Final[dict[str, Callable[[Any], list[Queue] | None]]] = {
    "pbspro": lambda ask: _ask_pbs(ask, "-F", "json"),
    "torque": _ask_pbs,
    "lsf": _ask_lsf,
    "gridengine": _ask_grid_engine,
    "flux": _ask_flux,
}


def _time(value: Any) -> float:
    """Seconds of a limit; infinite when there is none."""
    try:
        return parse_duration(value) if value is not None else math.inf
    except ValueError:
        return math.inf


def _whole(value: Any) -> int:
    match = re.match(r"\d+", str(value if value is not None else ""))
    return int(match[0]) if match else 0


def choose(queues: Iterable[Queue]) -> Queue | None:
    """The one to begin with: the default if it is open, else the open one that lets jobs run longest."""
    usable = [queue for queue in queues if queue.open and not queue.routes]
    for queue in usable:
        if queue.default:
            return queue
    return max(usable, key=lambda queue: (not queue.notes, queue.walltime_s), default=None)
