"""Invariants of the interchange's core. Tests call `InterchangeCore.check` after each step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plait.errors import InternalConsistencyError

if TYPE_CHECKING:
    from plait.executors.htex.filling import Filler
    from plait.executors.htex.nodes import ManagerState
    from plait.executors.htex.state import State

#: Of sums of fractions.
_TOLERANCE = 1e-6


def check(state: State, filler: Filler) -> None:
    """Holds the tables against each other.

    Raises:
        InternalConsistencyError: naming what does not fit.
    """
    held: dict[int, ManagerState] = {}
    for manager in state.managers.values():
        check_manager(manager)
        name = manager.name
        _expect(not manager.gone, f"{name} is gone, and listed")
        _expect(state.conns.get(manager.conn) is manager, f"{name} has a connection that is not its own")
        for place in (name, manager.block, manager.hostname):
            _expect(state.places.get(place, {}).get(name) is manager, f"{name} is not found at {place}")
        twice = held.keys() & manager.held.keys()
        _expect(not twice, f"tasks {twice} are with two managers")
        held.update(dict.fromkeys(manager.held, manager))
    _expect(held == state.placed, "what is placed is not what managers hold")
    _expect(set(state.conns.values()) == set(state.managers.values()), "a connection leads to nobody")
    plain, special = state.queue.attempts(), state.lanes.attempts()
    _expect(plain.isdisjoint(special), f"attempts {plain & special} wait in two queues")
    for task, attempt in plain | special:
        manager_of = held.get(task)
        _expect(
            manager_of is None or manager_of.held[task][1] != attempt, f"attempt {task}/{attempt} waits, and is placed"
        )
    check_gangs(state)
    workers = sum(manager.workers for manager in state.managers.values() if manager.is_open)
    _expect(workers == state.workers, f"{workers} workers are open, {state.workers} counted")
    check_filler(state, filler)


def check_manager(manager: ManagerState) -> None:
    """Whether what is counted as given away is what its tasks have, and no more than there is."""
    name = manager.name
    everyone = [*manager.granted.values(), *manager.ghosts.values()]
    _expect(manager.granted.keys() <= manager.held.keys(), f"{name} granted something to a task that it does not hold")
    _expect(
        all((item[5] is not None) == (task in manager.granted) for task, item in manager.held.items()),
        f"{name} holds a task that asked for something and got nothing",
    )
    for counted, real, there in (
        (manager.used_cores, sum(each.ask.cores for each in everyone), manager.cores),
        (
            manager.used_memory_bytes,
            sum(each.ask.memory_bytes or manager.memory_per_worker for each in everyone),
            manager.memory_bytes,
        ),
        (manager.used_disk_bytes, sum(each.ask.disk_bytes for each in everyone), manager.disk_bytes),
    ):
        _expect(abs(counted - real) < _TOLERANCE, f"{name} counts {counted} given away, it is {real}")
        sure = all(each.sure for each in everyone)
        _expect(not sure or not there or real <= there + _TOLERANCE, f"{name} gave {real} of {there}")
    shares: dict[int, float] = {}
    cores: list[int] = []
    for each in everyone:
        cores += each.cores
        for index, share in each.gpus:
            shares[index] = shares.get(index, 0.0) + share
    for index, left in enumerate(manager.free_gpus):
        share = shares.get(index, 0.0)
        _expect(share <= 1.0 + _TOLERANCE, f"{name} gave {share} of GPU {index}")
        _expect(abs(1.0 - left - share) < _TOLERANCE, f"{name} counts {left} of GPU {index} free, {share} is given")
    hosts = [index for each in everyone for index in each.hosts]
    _expect(len(hosts) == len(set(hosts)), f"{name} gave a node to two tasks: {hosts}")
    _expect(set(hosts) <= set(range(len(manager.hosts))), f"{name} gave nodes that it does not have: {hosts}")
    _expect(manager.free_hosts == set(range(len(manager.hosts))) - set(hosts), f"{name} counts its free nodes wrong")
    _expect(len(cores) == len(set(cores)), f"{name} bound two tasks to one core: {cores}")
    _expect(not manager.tight or manager.stuck or manager.slots >= 0, f"{name} counts its slots wrong")


def check_gangs(state: State) -> None:
    """Whether tasks over several nodes have them for themselves, all of one block, and nobody is kept for a task that is not there."""
    gangs = {}
    for manager in state.managers.values():
        over = {manager.granted.get(task) for task, _ in manager.owes}  # which have ended, and will be said to
        for each in (*manager.granted.values(), *manager.ghosts.values()):
            has = each.gang is not None or len(each.hosts) == each.ask.nodes or each in over
            _expect(has, f"a task over {each.ask.nodes} nodes that {manager.name} runs has no nodes")
            if each.gang is not None:
                gangs[id(each.gang)] = each.gang
                _expect(each.gang.head is manager, f"{manager.name} has the task of {each.gang.head.name}")
                have = 1 + len(each.gang.members) + len(each.gang.missing)
                ends = each in manager.ghosts.values()
                _expect(have == each.ask.nodes or ends, f"{have} managers for a task over {each.ask.nodes} nodes")
    for manager in state.managers.values():
        gang = manager.gang
        if gang is None:
            _expect(not manager.lent, f"{manager.name} is lent to nobody")
            continue
        _expect(id(gang) in gangs, f"{manager.name} is kept for task {gang.attempt}, which is not there")
        _expect(manager is gang.head or manager in gang.members, f"{manager.name} is kept for a gang without it")
        _expect(manager.lent == (manager is not gang.head), f"{manager.name} is wrong about being lent")
        _expect(not manager.slots, f"{manager.name} has slots, though it belongs to a gang")
    for gang in gangs.values():
        together = [gang.head, *gang.members]
        _expect(len(set(together)) == len(together), f"a manager is twice in the gang of task {gang.attempt}")
        _expect(
            all(each.gang is gang for each in together), f"a member of the gang of task {gang.attempt} does not know"
        )
        _expect(len({each.block for each in together}) == 1, f"the gang of task {gang.attempt} is of several blocks")
        _expect(not any(each.gone for each in together), f"a member of the gang of task {gang.attempt} is gone")
        _expect(all(state.awaited.get(name) is gang for name in gang.missing), f"nobody waits for {gang.missing}")
    _expect(all(id(gang) in gangs for gang in state.awaited.values()), "somebody waits for a member of no gang")


def check_filler(state: State, filler: Filler) -> None:
    """Whether whoever has room will be found."""
    line = [manager for manager in filler.line if not manager.gone]
    _expect(len(line) == len(set(line)), "a manager stands twice in the line")
    _expect(all(manager.room for manager in line), "a manager stands in the line and does not know")
    reservation = filler.granter.reservation
    reserved = [] if reservation is None or reservation.hosts else reservation.managers
    for manager in filler.granter.reservation.managers if filler.granter.reservation is not None else ():
        _expect(not manager.gone, f"{manager.name} is gone, and reserved")
    for manager in state.managers.values():
        name = manager.name
        _expect(not manager.room or manager in line, f"{name} thinks that it stands in the line")
        _expect(manager.reserved == (manager in reserved), f"{name} is wrong about a reservation")
        _expect(
            manager.aside == (manager.reserved or manager.gang is not None), f"{name} is wrong about being set aside"
        )
        kept = (
            reservation.hosts
            if reservation is not None and reservation.hosts and manager in reservation.managers
            else frozenset()
        )
        _expect(manager.kept_hosts == kept, f"{name} keeps nodes for nobody")
        free = manager.is_open and manager.load < manager.workers and not manager.aside
        _expect((name in filler.ranking.managers) == free, f"{name} has free workers: {free}, ranked: {not free}")
        if manager.is_open and not manager.aside and manager.free_slots:
            _expect(manager.room or free, f"{name} has room, and nobody knows")
    _expect(filler.ranking.managers.keys() <= state.managers.keys(), "one that is gone is ranked")


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise InternalConsistencyError(what)
