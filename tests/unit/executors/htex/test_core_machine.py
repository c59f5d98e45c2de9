"""The interchange's core under everything that can happen, in any order: lost connections, lost managers, late and doubled messages, restarts.

The machine plays the driver, the managers and the network. A connection keeps the order of its messages and loses none, but it may break,
with all that is on its way; what had arrived before may still be read after the manager has come back over another one.
"""

from __future__ import annotations

import itertools
from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from plait.executors.htex import messages as m
from plait.executors.htex.core import InterchangeCore
from plait.executors.htex.placement import FewestFree, NearData, Pack, Random, Selected, Spread
from plait.limits import GRACE_S

PERIOD_S, THRESHOLD_S = 2.0, 8.0
#: Of big arguments and results, and the bytes that travel for them.
SIZES, TOTAL = [3], 64

ASKS = [
    None,
    None,
    None,
    m.Ask(priority=1.0),
    m.Ask(priority=2.0, label="a"),
    m.Ask(label="b"),
    m.Ask(cores=2),
    m.Ask(cores=3, label="a"),
    m.Ask(gpus=1),
    m.Ask(gpus=0.5, priority=1.0),
    m.Ask(gpus=1.5),
    m.Ask(memory_bytes=3000),
    m.Ask(walltime_s=5.0),
    m.Ask(cores=2, walltime_s=30.0, disk_bytes=10),
    m.Ask(near=("block 1",)),
    m.Ask(nodes=1),
    m.Ask(nodes=2),
    m.Ask(nodes=2, walltime_s=20.0, priority=1.0),
    m.Ask(nodes=3, label="a"),
]


class ByName:
    def sort_managers(self, ready_managers, manager_list):
        return sorted(manager_list)


POLICIES = [Spread, Pack, FewestFree, Random, NearData, lambda: Selected(ByName())]


class Wire:
    """A connection: what is on its way, in both directions."""

    def __init__(self, number):
        self.number = number
        self.up: deque = deque()
        self.down: deque = deque()

    def __repr__(self):
        return f"wire {self.number}"


class Manager:
    """A manager as `uplink.py` is one."""

    def __init__(self, world, block, workers, cores, gpus, memory, left_s, hosts=0):
        self.world, self.block, self.workers, self.cores, self.gpus, self.memory = (
            world,
            block,
            workers,
            cores,
            gpus,
            memory,
        )
        self.ends_s = None if left_s is None else world.now_s + left_s
        self.hosts = [f"host {number} of {block}" for number in range(hosts)]
        self.alive = True
        self.wire = None
        self.epoch = ""
        self.draining = False
        self.begin_life()
        self.connect()

    def begin_life(self):
        self.name = f"m{next(self.world.names)}"
        self.held = {}  # task: (attempt, grant)
        self.begun = {}  # (task, attempt): grant; what runs, cancelled ones included
        self.cancelled = {}  # (task, attempt) that runs: when it was cancelled
        self.kept = deque()  # (seq, items)
        self.seq = 0
        self.acknowledged = 0
        self.functions = set()
        self.dropped = []  # attempts that ask, which were cancelled before they began
        self.half = set()  # of what is held: tasks whose arguments have not come
        self.welcome = False
        self.nth = 0

    def connect(self):
        if self.wire is not None:
            self.wire.down.clear()
            self.world.stale.append(self.wire)
        self.wire = Wire(next(self.world.wires))
        self.world.wire_of[self.wire.number] = self.wire
        self.functions = set()
        self.register()

    def register(self):
        self.welcome = False
        self.nth += 1
        for task in self.half:
            del self.held[task]
        self.half.clear()
        left_s = None if self.ends_s is None else self.ends_s - self.world.now_s
        self.say(
            m.Register(
                self.name, self.block, f"host of {self.name}", 1, "boot", m.PROTOCOL, "1", "3.11.1", self.workers, float(self.cores), self.memory, 0,
                list(self.gpus), left_s, 0, self.draining, [(t, a) for t, (a, _) in self.held.items()], self.finished(),
                self.nth, hosts=self.hosts, gangs=[
                    (t, a, list(grant.members), [self.hosts.index(host) for host in grant.hosts if self.hosts])
                    for t, (a, grant) in self.held.items() if grant is not None and grant.hosts
                ],
            )
        )  # fmt: skip

    def finished(self):
        return [(item[0], item[1]) for _, items in self.kept for item in items]

    def say(self, message):
        self.wire.up.append(message)

    # -- what the interchange says
    def hear(self, message):
        getattr(self, f"on_{type(message).__name__.lower()}")(message)

    def on_welcome(self, message):
        if message.epoch != self.epoch:
            self.kept = deque((seq, items) for seq, (_, items) in enumerate(self.kept, 1))
            self.seq = len(self.kept)
            self.acknowledged = 0
            self.epoch = message.epoch
        self.welcome = True
        for seq, items in self.kept:
            self.tell(seq, items)

    def tell(self, seq, items):
        if items[0][0] in self.world.big_results:
            self.say(m.BigOutcome(seq, items[0], SIZES))
        else:
            self.say(m.Outcomes(seq, items))

    def on_sayagain(self, message):
        for seq, items in self.kept if self.welcome else ():
            if items[0][0] not in self.world.big_results:
                self.tell(seq, items)

    def on_chunk(self, message):
        if self.held.get(message.task, (None,))[0] == message.attempt and message.task in self.half:
            self.half.remove(message.task)
            self.say(m.ChunkTaken(message.task, message.attempt, message.offset + TOTAL))
        else:
            self.say(m.ChunkTaken(message.task, message.attempt, -1))

    def on_chunktaken(self, message):
        if message.upto == 0 and (message.task, message.attempt) in self.finished():
            self.say(m.Chunk(message.task, message.attempt, 0))

    def on_whoareyou(self, message):
        if self.welcome:
            self.register()

    def on_declaredlost(self, message):
        if message.manager != self.name:
            return
        self.world.given_up.update(self.begun)
        self.begin_life()
        self.register()

    def on_refused(self, message):
        raise AssertionError(message)

    def on_heartbeat(self, message):
        pass

    def on_function(self, message):
        self.functions.add(message.number)

    def on_tasks(self, message):
        if self.draining:
            self.say(m.Returned([(item[0], item[1]) for item in message.items]))
            return
        for task, attempt, function, _, sizes, grant in message.items:
            assert function in self.functions, "a task came before its function"
            assert self.held.get(task, (attempt,))[0] <= attempt
            self.held[task] = (attempt, grant)
            self.half.discard(task)
            if sizes:
                self.half.add(task)
        self.check_room()

    def on_cancel(self, message):
        for task, attempt in message.items:
            if self.held.get(task, (None,))[0] == attempt:
                _, grant = self.held.pop(task)
                self.half.discard(task)
                if (task, attempt) in self.begun:
                    self.cancelled[task, attempt] = self.world.now_s
                elif grant is not None:
                    self.dropped.append((task, attempt))

    def tell_of_dropped(self):
        dropped, self.dropped = self.dropped, []
        if dropped and self.alive:
            self.say(m.Returned(dropped))

    def on_sweep(self, message):
        assert not set(message.items) & set(self.begun), "it runs still"

    def on_recall(self, message):
        back = [(t, a) for t, (a, grant) in self.held.items() if grant is None and (t, a) not in self.begun]
        self.give_back(back[max(0, len(back) - message.count) :])

    def give_back(self, attempts):
        for task, _ in attempts:
            del self.held[task]
            self.half.discard(task)
        self.say(m.Returned(attempts))

    def on_drain(self, message):
        self.draining = True
        self.give_back([(t, a) for t, (a, _) in self.held.items() if (t, a) not in self.begun])

    def on_taken(self, message):
        assert message.seq <= self.seq
        assert message.seq >= self.acknowledged
        while self.kept and self.kept[0][0] <= message.seq:
            _, items = self.kept.popleft()
            for item in items:
                self.world.may_be_forgotten((item[0], item[1]))
        self.acknowledged = message.seq

    def on_stop(self, message):
        for task, (attempt, _) in self.held.items():  # that it is cancelled was lost with a connection
            assert self.world.ended.get(task) == "cancelled" or self.world.attempt[task] > attempt
        for key in self.finished():
            self.world.may_be_forgotten(key)
        self.die()

    # -- what happens on the node
    def begin(self, task):
        attempt, grant = self.held[task]
        self.world.begins(task, attempt)
        self.begun[task, attempt] = grant
        self.check_room()
        self.world.nobody_is_in_the_way(self)

    def waiting(self):
        free = self.workers - len(self.begun)
        mine = [
            task
            for task, (attempt, _) in self.held.items()
            if (task, attempt) not in self.begun and task not in self.half
        ]
        return mine if free > 0 else []

    def check_room(self):
        """What was granted, whether begun or not, and what is still being killed, is there."""
        grants = {(t, a): grant for t, (a, grant) in self.held.items() if grant is not None}
        grants.update({key: grant for key, grant in self.begun.items() if grant is not None})
        assert len(grants) <= self.workers
        cores = [core for grant in grants.values() for core in grant.cores]
        assert len(cores) == len(set(cores))
        assert all(core < self.cores for core in cores)
        hosts = [host for grant in grants.values() for host in grant.hosts]
        assert len(hosts) == len(set(hosts))
        asks = {key: self.world.asks[key[0]] for key in grants}
        assert all(len(grant.hosts) == asks[key].nodes for key, grant in grants.items())
        assert sum(ask.cores for ask in asks.values()) <= self.cores
        assert sum(ask.gpus for ask in asks.values()) <= len(self.gpus)
        assert sum(ask.memory_bytes for ask in asks.values()) <= self.memory
        whole = [gpu for key, grant in grants.items() for gpu in grant.gpus[: int(asks[key].gpus)]]
        assert len(whole) == len(set(whole))
        assert set(whole) <= set(self.gpus)
        for key, grant in grants.items():
            assert len(grant.gpus) == -(-asks[key].gpus // 1)

    def end(self, keys):
        items = []
        for task, attempt in keys:
            grant = self.begun.pop((task, attempt))
            if (task, attempt) in self.cancelled:
                del self.cancelled[task, attempt]
                if grant is not None:
                    self.say(m.Returned([(task, attempt)]))
                continue
            del self.held[task]
            items.append((task, attempt, m.DONE, b"", 0.0, 0.01, 0))
        big = [[item] for item in items if item[0] in self.world.big_results]
        small = [item for item in items if item[0] not in self.world.big_results]
        for some in (*big, small):
            if some:
                self.seq += 1
                self.kept.append((self.seq, some))
                if self.welcome:
                    self.tell(self.seq, some)

    def die(self):
        self.alive = False
        self.world.given_up.update(self.begun)
        self.world.stale.append(self.wire)


class CoreMachine(RuleBasedStateMachine):
    @initialize(
        policy=st.sampled_from(POLICIES), cores=st.sampled_from([1.0, 0.5, 2.0]), memory=st.sampled_from([0, 500])
    )
    def start(self, policy, cores, memory):
        self.names, self.wires, self.epochs = itertools.count(), itertools.count(), itertools.count()
        self.now_s = 100.0
        self.make = lambda **more: InterchangeCore(
            epoch=f"e{next(self.epochs)}", cores_per_worker=cores, memory_per_worker=memory, heartbeat_period_s=PERIOD_S,
            heartbeat_threshold_s=THRESHOLD_S, policy=policy(), now_s=self.now_s, plait="1", python="3.11.1", **more,
        )  # fmt: skip
        self.begin_life_of_interchange()
        self.core.from_driver(m.Function(7), b"code", self.now_s)
        self.managers: list[Manager] = []
        self.big_arguments: set[int] = set()
        self.big_results: set[int] = set()
        self.stale: list[
            Wire
        ] = []  # of connections that broke, or whose manager ended; what had arrived may still be read
        self.wire_of: dict[int, Wire] = {}
        self.asks: dict[int, m.Ask | None] = {}
        self.attempt: dict[int, int] = {}  # the one that the driver wants
        self.place: dict[int, str] = {}  # where the driver believes it
        self.ended: dict[int, str] = {}
        self.ran: set = set()
        self.given_up: set = set()  # began, but their manager ended or was given up
        self.delivered: set = set()  # to the driver, in this life of the interchange
        self.untaken: deque = deque()
        self.taken: set = set()
        self.up: set[str] = set()  # managers that the driver knows of
        self.draining: set[str] = set()
        for block, hosts in (("block 0", 0), ("block 0", 0), ("block 1", 3)):
            self.managers.append(Manager(self, block, 2, 4, ["gpu0", "gpu1"], 4000, None, hosts))

    def begin_life_of_interchange(self, **more):
        self.core = self.make(**more)
        self.cancelled = set()  # in this life of the interchange

    def arrives(self, wire, message):
        """The interchange reads a message of a manager."""
        self.core.from_manager(wire.number, message, b"", self.now_s)

    # -- the model's memory
    def begins(self, task, attempt):
        assert (task, attempt) not in self.ran, f"attempt {attempt} of task {task} runs twice"
        self.ran.add((task, attempt))

    def nobody_is_in_the_way(self, one):
        """What has several nodes has them for itself, as long as the interchange has not given its manager up."""
        if self.restarts:  # tasks may come to a node before the manager is back that has it
            return
        for head in self.living():
            for key, grant in head.begun.items():
                if grant is not None and grant.members and self.core.managers.get(head.name) is not None:
                    wanted = self.attempt[key[0]] == key[1] and key[0] not in self.ended
                    if wanted and one.name in (head.name, *grant.members):
                        assert head is one, f"{one.name} runs something beside task {key}"
                        assert list(one.begun) == [key]

    def may_be_forgotten(self, key):
        """A manager is told that the driver has an outcome: so it must, or not want it."""
        task, attempt = key
        assert (
            key in self.taken
            or self.ended.get(task) == "cancelled"
            or self.attempt[task] > attempt
            or task in self.ended
        )

    def offered(self, task):
        if task in self.big_arguments:
            return (task, self.attempt[task], 7, b"", SIZES, self.asks[task])
        return (task, self.attempt[task], 7, b"x" * 10, None, self.asks[task])

    # -- the shell: what the core wants sent
    def send(self):
        out, self.core.out = self.core.out, []
        for conn, message, _ in out:
            if conn is None:
                self.driver_hears(message)
            else:
                self.goes_to_a_manager(self.wire_of[conn], message)

    def goes_to_a_manager(self, wire, message):
        if isinstance(message, m.Tasks):
            name = next(each.name for each in self.managers if each.wire is wire or wire in self.stale)
            for item in message.items:
                assert self.ended.get(item[0]) is None or self.ended[item[0]] == "cancelled"
                assert item[0] in self.place, "it was sent before the driver knew where"
            assert name
        if wire not in self.stale:
            wire.down.append(message)

    def driver_hears(self, message):
        getattr(self, f"driver_{type(message).__name__.lower()}", lambda _: None)(message)

    def driver_placed(self, message):
        for task, attempt in message.items:
            assert attempt <= self.attempt[task]
            if not message.manager:  # it waits again
                assert self.place.pop(task, None) is not None or self.attempt[task] > attempt or self.restarts
            elif attempt == self.attempt[task]:
                self.place[task] = message.manager

    def driver_delivered(self, message):
        assert message.seq == self.last_seq + 1
        self.last_seq = message.seq
        self.untaken.append((message.seq, [(item[0], item[1]) for item in message.items]))
        for item in message.items:
            key = item[0], item[1]
            assert key not in self.delivered, f"{key} was delivered twice"
            self.delivered.add(key)
            if item[0] not in self.ended and self.attempt[item[0]] == item[1]:
                self.ended[item[0]] = "done"

    def driver_bigdelivered(self, message):
        self.driver_delivered(m.Delivered(message.seq, message.manager, [message.item]))

    def driver_lost(self, message):
        for task, attempt in message.items:
            if task not in self.ended and self.attempt[task] == attempt:
                self.attempt[task] += 1
                self.place.pop(task, None)
                self.core.from_driver(m.Offer([self.offered(task)]), b"", self.now_s)

    def driver_managerup(self, message):
        self.up.add(message.manager)

    def driver_managergone(self, message):
        self.up.discard(message.manager)
        assert message.manager not in [name for task, name in self.place.items() if task in self.core.placed]

    @property
    def last_seq(self):
        return self._last_seq if self._life is self.core else 0

    @last_seq.setter
    def last_seq(self, value):
        self._life, self._last_seq = self.core, value

    _life = None
    _last_seq = 0

    def tell(self, message, payload=b""):
        self.core.from_driver(message, payload, self.now_s)
        self.send()

    # -- the driver
    @rule(asks=st.lists(st.sampled_from(ASKS), min_size=1, max_size=12))
    def offer(self, asks):
        items = []
        for ask in asks:
            task = len(self.asks)
            self.asks[task], self.attempt[task] = ask, 1
            items.append(self.offered(task))
        self.tell(m.Offer(items))

    @rule(data=st.data())
    @precondition(lambda self: len(self.ended) < len(self.asks))
    def cancel(self, data):
        tasks = data.draw(
            st.lists(st.sampled_from(sorted(self.asks.keys() - self.ended.keys())), max_size=3, unique=True)
        )
        self.cancel_these(tasks)

    def cancel_these(self, tasks):
        for task in tasks:
            self.ended[task] = "cancelled"
            self.cancelled.add((task, self.attempt[task]))
        self.tell(m.Cancel([(task, self.attempt[task]) for task in tasks]))

    @rule(count=st.integers(1, 3))
    @precondition(lambda self: self.untaken)
    def take(self, count):
        seq = 0
        for _ in range(min(count, len(self.untaken))):
            seq, keys = self.untaken.popleft()
            self.taken.update(keys)
        self.tell(m.Taken(seq))

    def take_all(self):
        if self.untaken:
            self.take(len(self.untaken))

    @rule(block=st.sampled_from(["block 0", "block 1"]), on=st.booleans())
    def hold(self, block, on):
        self.tell(m.Hold(block, on))

    @rule(over=st.booleans())
    @precondition(lambda self: len(self.draining) < 1 and len(self.managers) > 1)
    def drain(self, over):
        self.draining.add("block 1")
        self.tell(m.DrainBlock("block 1", "it is idle", over=over))

    @rule(what=st.sampled_from(["managers", "queue"]))
    def ask(self, what):
        self.tell(m.Query(1, what))

    # -- the interchange
    @rule()
    def place_some(self):
        self.core.place(self.now_s)
        self.send()

    @rule(seconds=st.sampled_from([0.05, 0.5, 1.5]))
    def time_passes(self, seconds):
        self.pass_time(0.01 if self.again else seconds)  # the driver offers again at once
        self.core.tick(self.now_s)
        self.send()

    def pass_time(self, seconds):
        self.now_s += seconds
        for manager in self.living():  # killing takes its time, but not for ever
            manager.end([key for key, since_s in manager.cancelled.items() if self.now_s - since_s >= GRACE_S])

    @rule()
    def everybody_beats(self):
        for manager in self.living():
            if manager.welcome:
                manager.say(m.Heartbeat(self.now_s))

    @rule()
    @precondition(lambda self: self.managers and not self.again)
    def long_silence(self):
        for _ in range(6):
            self.time_passes(1.7)

    @rule()
    @precondition(lambda self: self.managers and not self.again)
    def the_interchange_stands_still(self):
        self.pass_time(3 * THRESHOLD_S)
        self.core.tick(self.now_s)
        assert not any(isinstance(message, m.DeclaredLost) for _, message, _ in self.core.out), "we did not listen"
        self.send()

    @rule()
    @precondition(lambda self: self.managers and not self.again and self.placed_now())
    def the_interchange_is_killed(self):
        self.restarts += 1
        self.begin_life_of_interchange(expected=sorted(self.up))
        self.delivered = set()
        self.untaken.clear()
        self.stale.clear()
        self.tell(m.Function(7), b"code")
        again: dict[str, list] = {}
        rest = []
        for task in self.asks:
            if task not in self.ended:
                if task in self.place:
                    again.setdefault(self.place[task], []).append(self.offered(task))
                else:
                    rest.append(self.offered(task))
        self.again = [m.OfferAgain(name, items) for name, items in again.items()]
        for name in self.draining:
            self.tell(m.DrainBlock(name, "it is idle"))
        self.tell(m.Offer(rest))
        for manager in self.living():
            manager.wire = None
            manager.connect()

    again: list = []
    restarts = 0

    @rule()
    @precondition(lambda self: self.again)
    def the_driver_offers_again(self):
        message = self.again.pop()
        items = [item for item in message.items if item[0] not in self.ended and self.attempt[item[0]] == item[1]]
        self.tell(m.OfferAgain(message.manager, items))

    def placed_now(self):
        return any(task not in self.ended for task in self.place)

    # -- managers, and the network
    def living(self):
        return [manager for manager in self.managers if manager.alive]

    def some(self, data):
        return data.draw(st.sampled_from(self.living()), label="manager")

    @rule(
        block=st.sampled_from(["block 0", "block 1"]),
        workers=st.integers(1, 4),
        cores=st.integers(1, 4),
        gpus=st.integers(0, 2),
        left_s=st.sampled_from([None, None, 60.0]),
        hosts=st.sampled_from([0, 0, 3]),
    )
    @precondition(lambda self: len(self.living()) < 5)
    def a_manager_comes(self, block, workers, cores, gpus, left_s, hosts):
        cores = max(cores, int(workers * self.core.cores_per_worker) or 1)
        self.managers.append(
            Manager(self, block, workers, cores, [f"gpu{i}" for i in range(gpus)], 4000, left_s, hosts)
        )

    @rule(data=st.data(), count=st.integers(1, 20))
    @precondition(lambda self: self.living())
    def messages_travel(self, data, count):
        manager = self.some(data)
        self.up_travels(manager.wire, count)
        self.down_travels(manager, count)

    def all_messages_arrive(self):
        for manager in self.living():
            self.up_travels(manager.wire, 1000)
            self.down_travels(manager, 1000)

    @rule()
    @precondition(lambda self: self.living())
    def tasks_are_placed_and_begin(self):
        self.all_messages_arrive()
        self.place_some()
        self.all_messages_arrive()
        for manager in self.living():
            while manager.waiting():
                manager.begin(manager.waiting()[0])

    @rule(skip=st.integers(0, 2))
    @precondition(lambda self: any(manager.begun for manager in self.living()))
    def many_end(self, skip):
        for manager in self.living():
            manager.end(list(manager.begun)[skip:])

    @rule()
    @precondition(lambda self: self.living() and not self.again)
    def it_is_quiet(self):
        self.everybody_beats()
        for _ in range(3):
            self.all_messages_arrive()
        for manager in self.living():
            known = self.core.managers.get(manager.name)
            if known is None:
                continue
            unwanted = [key for key in self.cancelled if manager.held.get(key[0], (None,))[0] == key[1]]
            assert not unwanted, f"{manager.name} has not heard that {unwanted} are cancelled"
            over = self.delivered & set(known.unclaimed.items())
            assert not over, f"{manager.name} is thought to have {over}"

    @rule(
        big=st.booleans(),
        steps=st.lists(st.sampled_from(["end", "cancel", "reconnect", "arrive", "quiet", "drain"]), max_size=8),
        asks=st.lists(st.sampled_from([None, m.Ask(gpus=1), m.Ask(nodes=2)]), min_size=1, max_size=3),
        restart=st.booleans(),
    )
    @precondition(lambda self: self.living() and not self.again)
    def something_happens_to_one(self, big, steps, asks, restart):
        """Much in a row to the manager that has a task, perhaps just after a restart of the interchange."""
        first = len(self.asks)
        if big:
            self.big_results.update(range(first, first + len(asks)))
        self.offer(asks)
        self.tasks_are_placed_and_begin()
        if restart and self.placed_now():
            self.the_interchange_is_killed()
            while self.again:
                self.the_driver_offers_again()
        mine = [
            each for each in self.living() if each.begun.keys() & {(task, 1) for task in range(first, len(self.asks))}
        ]
        if not mine:
            return
        manager = mine[0]
        for step in steps:
            if not manager.alive:
                return
            if step == "end":
                manager.end(list(manager.begun)[:1])
            elif step == "cancel":
                unended = [task for task in range(first, len(self.asks)) if task not in self.ended]
                self.cancel_these(unended[:1])
            elif step == "reconnect":
                manager.connect()
            elif step == "arrive":
                self.up_travels(manager.wire, 1)
                self.down_travels(manager, 1)
            elif step == "quiet":
                self.it_is_quiet()
            elif not manager.draining and manager.welcome:
                manager.say(m.Draining("its time is over"))
                manager.on_drain(None)

    @rule(skip=st.integers(0, 2))
    @precondition(lambda self: self.living())
    def life_goes_on(self, skip):
        self.tasks_are_placed_and_begin()
        self.many_end(skip)
        self.all_messages_arrive()
        self.take_all()

    def down_travels(self, manager, count):
        while manager.alive and manager.wire.down and count:
            manager.hear(manager.wire.down.popleft())
            count -= 1
        manager.tell_of_dropped()

    def up_travels(self, wire, count):
        for _ in range(min(count, len(wire.up))):
            self.arrives(wire, wire.up.popleft())
            self.send()

    @rule(data=st.data())
    @precondition(lambda self: any(wire.up for wire in self.stale))
    def late_messages_of_a_broken_connection(self, data):
        wire = data.draw(st.sampled_from([wire for wire in self.stale if wire.up]))
        self.up_travels(wire, 3)

    @rule(data=st.data())
    @precondition(lambda self: any(manager.wire.up for manager in self.living()))
    def a_message_comes_twice(self, data):
        wire = data.draw(st.sampled_from([manager.wire for manager in self.living() if manager.wire.up]))
        message = wire.up[0]
        self.up_travels(wire, 1)
        self.arrives(wire, message)
        self.send()

    @rule(data=st.data())
    @precondition(lambda self: any(len(manager.wire.up) > 1 for manager in self.living()))
    def outcomes_overtake_each_other(self, data):
        wire = data.draw(st.sampled_from([manager.wire for manager in self.living() if len(manager.wire.up) > 1]))
        if all(isinstance(message, m.Outcomes) for message in itertools.islice(wire.up, 2)):
            first = wire.up.popleft()
            wire.up.insert(1, first)

    @rule(data=st.data(), count=st.integers(1, 4))
    @precondition(lambda self: any(manager.waiting() for manager in self.living()))
    def tasks_begin(self, data, count):
        manager = data.draw(st.sampled_from([each for each in self.living() if each.waiting()]))
        for _ in range(count):
            if waiting := manager.waiting():
                manager.begin(waiting[0])

    @rule(data=st.data(), count=st.integers(1, 4))
    @precondition(lambda self: any(manager.begun for manager in self.living()))
    def tasks_end(self, data, count):
        manager = data.draw(st.sampled_from([each for each in self.living() if each.begun]))
        manager.end(list(manager.begun)[:count])

    @rule(data=st.data())
    @precondition(lambda self: self.living())
    def a_connection_breaks(self, data):
        self.some(data).connect()

    @rule(data=st.data())
    @precondition(lambda self: any(not manager.welcome for manager in self.living()))
    def a_manager_that_was_not_answered_registers_again(self, data):
        data.draw(st.sampled_from([each for each in self.living() if not each.welcome])).register()

    @rule(data=st.data())
    @precondition(lambda self: len(self.living()) > 1)
    def a_manager_is_killed(self, data):
        self.some(data).die()

    def of_gangs(self, of_heads):
        """Managers that run a task over several nodes, or are kept for one."""
        gangs = [
            (head, grant.members)
            for head in self.living()
            for grant in head.begun.values()
            if grant is not None and grant.members
        ]
        names = [name for head, members in gangs for name in ([head.name] if of_heads else members)]
        return [manager for manager in self.living() if manager.name in names]

    @rule(
        data=st.data(),
        how=st.sampled_from(["dies", "leaves", "is silent", "reconnects", "restart"]),
        of_heads=st.booleans(),
    )
    @precondition(lambda self: not self.again)
    def something_happens_to_a_gang(self, data, how, of_heads):
        if not self.of_gangs(of_heads):
            self.offer([m.Ask(nodes=2)])
            self.tasks_are_placed_and_begin()
        managers = self.of_gangs(of_heads)
        if not managers:
            return
        manager = data.draw(st.sampled_from(managers))
        if how in {"dies", "leaves"} and len(self.living()) > 1:
            if how == "leaves":
                manager.say(m.Leaving("it was told to"))
            manager.die()
            self.up_travels(manager.wire, 1000)
        elif how == "is silent":
            for _ in range(8):
                self.pass_time(1.5)
                for each in self.living():
                    if each is not manager and each.welcome:
                        each.say(m.Heartbeat(self.now_s))
                        self.up_travels(each.wire, 1000)
                self.core.tick(self.now_s)
                self.send()
        elif how == "reconnects":
            manager.connect()
        elif self.placed_now():
            self.the_interchange_is_killed()
            if data.draw(st.booleans()):
                while self.again:
                    self.the_driver_offers_again()
                self.all_messages_arrive()

    @rule(data=st.data())
    @precondition(lambda self: len(self.living()) > 1)
    def a_manager_leaves(self, data):
        manager = self.some(data)
        manager.say(m.Leaving("it was told to"))
        manager.die()

    @rule(data=st.data())
    @precondition(lambda self: len(self.living()) > 1)
    def a_manager_drains(self, data):
        manager = self.some(data)
        if not manager.draining and manager.welcome:
            manager.say(m.Draining("its time is over"))
            manager.on_drain(None)

    # -- what must hold
    @invariant()
    def tables_agree(self):
        if hasattr(self, "core"):
            self.core.check()

    @invariant()
    def no_task_is_lost(self):
        if not hasattr(self, "core") or self.again:
            return
        queue, lanes, placed = self.core.queue.attempts(), self.core.lanes.attempts(), self.core.placed
        limbo = {task for items in self.core._members.limbo.tasks.values() for task in items}
        for task, attempt in self.attempt.items():
            if task not in self.ended:
                assert ((task, attempt) in queue) + ((task, attempt) in lanes) + (task in placed) + (
                    task in limbo
                ) == 1, f"task {task}"

    # -- the end: without further faults everything ends
    def teardown(self):
        if not hasattr(self, "core"):
            return
        while self.again:
            self.the_driver_offers_again()
        for name in ("block 0", "block 1"):
            self.tell(m.Hold(name, False))
        for _ in range(3):
            self.managers.append(Manager(self, "block 0", 4, 8, ["gpu0", "gpu1"], 8000, None))
        progress, rounds = -1, 0
        while rounds < 60:
            rounds = 0 if len(self.ended) > progress else rounds + 1
            progress = len(self.ended)
            self.everybody_beats()
            self.tasks_are_placed_and_begin()
            self.many_end(0)
            self.take_all()
            self.time_passes(0.5)
            self.core.check()
            if len(self.ended) == len(self.asks) and not any(manager.kept for manager in self.living()):
                break
        left = sorted(self.asks.keys() - self.ended.keys())
        assert not left, f"tasks {left} never ended"
        assert not any(manager.kept for manager in self.living()), "an outcome was never acknowledged"
        self.nothing_is_left()

    def nothing_is_left(self):
        """When nobody waits for anything any more, nothing is counted as given away, and who drains is gone."""
        self.time_passes(0.5)
        for _ in range(8):  # as long as somebody may come back, and killing takes
            self.everybody_beats()
            self.all_messages_arrive()
            self.time_passes(1.5)
            self.core.place(self.now_s)
            self.send()
        self.all_messages_arrive()
        for manager in self.core.managers.values():
            left = manager.held, manager.ghosts, manager.unclaimed, manager.owes, manager.untaken
            assert not any(left), f"{manager.name} has {left}"
            assert manager.gang is None
            assert not manager.reserved
            assert abs(manager.used_cores) < 1e-6
            assert manager.draining is None, f"{manager.name} drains for ever"
            assert manager.fits(m.Ask(), self.now_s)
        assert not any(manager.draining or manager.begun for manager in self.living())


TestCore = CoreMachine.TestCase
TestCore.settings = settings(max_examples=40, stateful_step_count=60)
