"""Answers to the driver's questions: which managers there are, what waits, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from plait.executors.htex.gangs import by_block
from plait.executors.htex.nodes import sorted_hosts
from plait.model.resources import count_of
from plait.model.units import format_bytes, format_duration

if TYPE_CHECKING:
    from plait.executors.htex.filling import Filler
    from plait.executors.htex.granting import Reservation
    from plait.executors.htex.messages import Ask
    from plait.executors.htex.nodes import ManagerState
    from plait.executors.htex.state import State

#: Kinds of waiting tasks that are explained.
_MAX_LANES: Final = 50
#: Managers whose shortcomings are named.
_MAX_NAMED: Final = 3


def answer(state: State, filler: Filler, what: str, now_s: float) -> bytes:
    """JSON for `messages.Answer`."""
    if what == "managers":
        return msgspec.json.encode([manager.facts(now_s) for manager in state.managers.values()])
    return msgspec.json.encode(queue_facts(state, filler, now_s))


def queue_facts(state: State, filler: Filler, now_s: float) -> dict[str, Any]:
    """How much waits and runs, and for each kind of task that waits, in their order, why."""
    lanes = state.lanes
    waiting = []
    for lane in sorted(lanes.lanes.values(), key=lambda lane: lanes.key(lane, now_s))[:_MAX_LANES]:
        ask, (item, came_s) = lane.ask, lane.head
        waiting.append(
            {
                "task": item[0],
                "tasks": len(lane.tasks),
                "asks": describe(ask),
                "label": ask.label,
                "priority": ask.priority,
                "waited_s": max(0.0, now_s - came_s),
                "why": why(state, filler, ask, now_s),
            }
        )
    return {
        "plain": len(state.queue),
        "special": len(lanes),
        "placed": len(state.placed),
        "managers": len(state.managers),
        "workers": state.workers,
        "mean_s": state.mean_s,
        "waiting": waiting,
    }


def describe(ask: Ask) -> str:
    """What is asked for, in words."""
    parts = [f"{ask.cores:g} core{'s' if ask.cores != 1 else ''}"]
    if ask.memory_bytes:
        parts.append(format_bytes(ask.memory_bytes))
    if ask.nodes:
        parts[:1] = [f"{count_of(ask.nodes, 'node')} with {count_of(ask.ranks_per_node, 'rank')} each"]
    if ask.gpus:
        parts.append(f"{ask.gpus:g} GPU{'s' if ask.gpus != 1 else ''}")
    if ask.disk_bytes:
        parts.append(f"{format_bytes(ask.disk_bytes)} of disk")
    if ask.walltime_s is not None:
        parts.append(format_duration(ask.walltime_s))
    return ", ".join(parts)


def why(state: State, filler: Filler, ask: Ask, now_s: float) -> str:
    """Why a task that asks for this is not placed."""
    managers = list(state.managers.values())
    if not managers:
        return "no manager is connected"
    able = [manager for manager in managers if manager.could_ever(ask, now_s)]
    if nowhere := fits_nowhere(managers, ask, now_s):
        return nowhere
    usable = [manager for manager in able if manager.is_open]
    if not usable:
        return f"of {len(managers)} managers {len(able)} could take it, but are held back or drain"
    reservation = filler.granter.reservation
    if reservation is not None and reservation.lane.ask == ask:
        return kept_free(reservation, now_s)
    if ask.nodes and state.gangs_wait:
        return "managers may still come back after a restart of the interchange, with tasks over several nodes"
    return f"it waits for room on one of {len(usable)} managers that could take it"


def kept_free(reservation: Reservation, now_s: float) -> str:
    """What is kept for it, and when it should have it."""
    manager = reservation.manager
    soon = format_duration(max(0.0, reservation.expected_s - now_s))
    if reservation.hosts:
        what = f"{', '.join(sorted_hosts(manager.hosts, reservation.hosts))} of block {manager.block} are"
    elif len(reservation.managers) > 1:
        what = f"{', '.join(each.node for each in reservation.managers)} of block {manager.block} are"
    else:
        what = f"manager {manager.name} on {manager.hostname} is"
    return f"{what} kept free for it, which should take {soon}"


def fits_nowhere(managers: list[ManagerState], ask: Ask, now_s: float) -> str:
    """Why none of these managers could ever take it, with the numbers; empty when one could."""
    able = [manager for manager in managers if not manager.shortfall(ask, now_s)]
    if any(manager.hosts or ask.nodes < 2 for manager in able):
        return ""
    if able:
        blocks = by_block(able)
        block = max(blocks, key=lambda name: len(blocks[name]))
        if len(blocks[block]) >= ask.nodes:
            return ""
        return f"{ask.nodes} nodes of one block asked; of connected managers that could take part, block {block} has most, {len(blocks[block])}"
    reasons: dict[str, str] = {}
    for manager in managers:
        short = manager.shortfall(ask, now_s)
        reasons.setdefault("; ".join(short), manager.hostname)
    named = [f"{host}: {reason}" for reason, host in list(reasons.items())[:_MAX_NAMED]]
    if len(reasons) > _MAX_NAMED:
        named.append(f"and {len(reasons) - _MAX_NAMED} more")
    return f"none of {len(managers)} connected managers could ever take it ({' / '.join(named)})"
