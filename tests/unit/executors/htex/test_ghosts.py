from __future__ import annotations

import math

from plait.executors.htex import messages as m
from plait.executors.htex.ghosts import GHOST_S, KILL_S, Ghosts
from tests.unit.executors.htex.core_lab import Lab


def with_ghost():
    """A manager whose task with a GPU was cancelled."""
    lab = Lab()
    manager = lab.comes("a", gpus=["x"])
    lab.offer(m.Ask(gpus=1))
    lab.place()
    lab.core.release(manager, 1, ghost=True)
    told = []
    return lab, manager, Ghosts(lab.core, lambda one, now_s: told.append((one, now_s))), told


def test_it_is_laid_when_the_manager_says_so():
    _, manager, ghosts, told = with_ghost()
    ghosts.add(manager, (1, 1), 0.0)
    assert not ghosts.lay(manager, (1, 2), 1.0)
    assert ghosts.lay(manager, (1, 1), 1.0)
    assert not ghosts.lay(manager, (1, 1), 1.0)
    assert told == [(manager, 1.0)]
    assert manager.free_gpus == [1.0]


def test_it_is_laid_in_the_end_in_any_case():
    _, manager, ghosts, _ = with_ghost()
    assert ghosts.next_s() == math.inf
    ghosts.add(manager, (1, 1), 0.0)
    assert ghosts.next_s() == GHOST_S
    ghosts.tick(GHOST_S - 0.1)
    assert manager.ghosts
    ghosts.tick(GHOST_S)
    assert not manager.ghosts
    assert ghosts.next_s() == math.inf


def test_after_a_new_connection_it_has_the_time_that_killing_takes():
    _, manager, ghosts, _ = with_ghost()
    ghosts.add(manager, (1, 1), 0.0)
    ghosts.reconnected(manager, 1.0)
    ghosts.tick(1.0 + KILL_S)
    assert not manager.ghosts
    ghosts.tick(GHOST_S)


def test_what_is_not_known_keeps_tasks_that_ask_away_for_a_while():
    lab, manager, ghosts, told = with_ghost()
    ghosts.cancel_unknown(manager, [], 0.0)
    assert lab.take() == []
    ghosts.cancel_unknown(manager, [(8, 1), (9, 1)], 0.0)
    assert lab.only(m.Cancel, "a") == m.Cancel([(8, 1), (9, 1)])
    assert not manager.fits(m.Ask(), KILL_S - 0.1)
    ghosts.tick(KILL_S)
    assert told == [(manager, KILL_S)]
    assert manager.fits(m.Ask(), KILL_S)


def test_one_that_is_gone_is_left_alone():
    _, manager, ghosts, told = with_ghost()
    ghosts.add(manager, (1, 1), 0.0)
    manager.gone = True
    ghosts.tick(GHOST_S)
    assert told == []
