"""What tests of the interchange's core share: a core with managers, and what it wanted sent."""

from __future__ import annotations

import itertools

from plait.executors.htex import messages as m
from plait.executors.htex.core import InterchangeCore

PLAIN = None


def register(name="a", **more):
    """A manager's registration."""
    values = {
        "manager": name, "block": "0", "hostname": f"host of {name}", "pid": 1, "boot": "", "protocol": m.PROTOCOL, "plait": "", "python": "",
        "workers": 2, "cores": 2.0, "memory_bytes": 0, "disk_bytes": 0, "gpus": [], "walltime_left_s": None, "prefetch": 0, "draining": False,
        "holds": [], "finished": [],
    }  # fmt: skip
    values.update(more)
    if "workers" in more and "cores" not in more:
        values["cores"] = float(more["workers"])
    return m.Register(**values)


def item(task, ask=PLAIN, attempt=1, payload=b"x"):
    """A task as the driver offers it."""
    return (task, attempt, 7, payload, None, ask)


def done(task, attempt=1, seconds=0.01):
    """How a task ended."""
    return (task, attempt, m.DONE, b"", 0.0, seconds, 0)


class Lab:
    """A core; a manager's connection is its name."""

    def __init__(self, **more):
        values = {"epoch": "e", "heartbeat_period_s": 2.0, "heartbeat_threshold_s": 8.0}
        self.core = InterchangeCore(**{**values, **more})
        self.now_s = more.get("now_s", 0.0)
        self.seqs = {}
        self.numbers = itertools.count(1)
        self.core.from_driver(m.Function(7), b"code", self.now_s)

    # -- in
    def comes(self, name="a", conn=None, **more):
        """A manager registers."""
        self.core.from_manager(conn or name, register(name, **more), b"", self.now_s)
        return self.core.managers.get(name)

    def says(self, name, message):
        self.core.from_manager(name, message, b"", self.now_s)

    def ends(self, name, *tasks, seconds=0.01):
        """A manager tells how tasks ended."""
        self.seqs[name] = self.seqs.get(name, 0) + 1
        self.says(name, m.Outcomes(self.seqs[name], [done(task, seconds=seconds) for task in tasks]))

    def driver(self, message):
        self.core.from_driver(message, b"", self.now_s)

    def offer(self, *asks):
        """Tasks with these asks; the numbers of the tasks."""
        items = [item(next(self.numbers), ask) for ask in asks]
        self.driver(m.Offer(items))
        return [each[0] for each in items]

    def offer_plain(self, count):
        return self.offer(*[PLAIN] * count)

    def at(self, now_s, *, beats=()):
        """It is that late; these managers have just spoken."""
        self.now_s = now_s
        for name in beats:
            self.says(name, m.Heartbeat(now_s))
        self.core.tick(now_s)

    def place(self):
        """Places what can be; which tasks went to which manager."""
        more = self.core.place(self.now_s)
        self.core.check()
        placed = {}
        for conn, message in self.take():
            if isinstance(message, m.Tasks):
                placed.setdefault(conn, []).extend(each[0] for each in message.items)
        assert not more
        return placed

    # -- out
    def take(self, kind=m.Message, to=...):
        """What is to be sent (of a kind, to somebody; None: the driver), and forgets all of it."""
        out, self.core.out = self.core.out, []
        return [(conn, message) for conn, message, _ in out if isinstance(message, kind) and to in (..., conn)]

    def only(self, kind, to=...):
        """The one message of a kind."""
        (found,) = self.take(kind, to)
        return found[1]


def lab_of(*workers, **more):
    """A lab with managers a, b, …"""
    lab = Lab(**more)
    for name, count in zip("abcdefgh", workers, strict=False):
        lab.comes(name, workers=count)
    lab.take()
    return lab


def counts(placed):
    """How many tasks each manager got."""
    return {name: len(tasks) for name, tasks in placed.items()}
