from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from plait._util import procs
from plait._util.procs import Process
from plait._util.sweep import kill_below
from tests.support import require_linux, wait_until


class World:
    """Processes that a test makes up; whoever is looked at may act before it is killed."""

    def __init__(self, monkeypatch):
        self.parents = {1: 0, 10: 1, 90: 1}  # 10 is the root
        self.killed = []
        self.on_look = lambda pid: None
        monkeypatch.setattr(procs, "numbers", lambda: list(self.parents))
        monkeypatch.setattr(procs, "look", self.look)
        monkeypatch.setattr(procs, "signal_all", self.kill)

    def look(self, pid):
        self.on_look(pid)
        return Process(pid, "S", self.parents[pid], pid, pid, 1.0) if pid in self.parents else None

    def kill(self, pids, number):
        assert number == signal.SIGKILL
        for pid in pids:
            self.killed.append(pid)
            self.end(pid)

    def end(self, pid):
        """It ends, and its children come to the root."""
        del self.parents[pid]
        for child, parent in self.parents.items():
            if parent == pid:
                self.parents[child] = 10


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


def test_all_below_and_nobody_else(world):
    world.parents |= {91: 90, 11: 10, 12: 11, 13: 12, 14: 10}
    assert kill_below(10)
    assert sorted(world.killed) == [11, 12, 13, 14]


def test_whoever_is_spared_is_so_with_all_below(world):
    world.parents |= {11: 10, 12: 11, 13: 10, 14: 13}
    assert kill_below(10, spare=[11])
    assert sorted(world.killed) == [13, 14]


def test_children_listed_before_their_parents(world):
    world.parents = {13: 12, 12: 11, 11: 10} | world.parents
    assert kill_below(10)
    assert sorted(world.killed) == [11, 12, 13]


def test_one_that_moves_on_whenever_it_was_listed(world):
    world.parents[100] = 10
    hops = iter(range(101, 120))

    def hop(pid):
        if pid >= 100 and (new := next(hops, None)):
            world.parents[new] = 1 if pid == 1 else pid
            world.end(pid)

    world.on_look = hop
    assert kill_below(10)
    assert sorted(world.parents) == [1, 10, 90]


def test_one_whose_parent_cannot_be_seen_is_not_ours(world):
    world.parents[50] = 49
    assert kill_below(10)
    assert not world.killed


def test_a_time_to_give_up(world):
    world.parents[100] = 10
    world.on_look = lambda pid: world.parents.update({max(world.parents) + 1: 10})
    assert not kill_below(10, within_s=0.0)


def test_real_ones():
    require_linux("orphans go to a subreaper")
    code = (
        "import os, subprocess, sys\n"
        "from plait._util import procs\n"
        "from plait._util.sweep import kill_below\n"
        "procs.become_subreaper()\n"
        "f = 'f() { (setsid bash -c \"$(declare -f f); f\" &) ; sleep 0.02; }; f'\n"
        "subprocess.Popen(['bash', '-c', f], start_new_session=True)\n"
        "kept = subprocess.Popen(['sleep', '60'])\n"
        "print(kill_below(os.getpid(), [kept.pid]), procs.is_alive(kept.pid), flush=True)\n"
        "print(kill_below(os.getpid()), flush=True)\n"
        "while procs.descendants(os.getpid()):\n"
        "    pass\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readlines() == ["True True\n", "True\n"]
    wait_until(lambda: not procs.is_alive(process.pid))
