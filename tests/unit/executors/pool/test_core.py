"""The pool's decisions, driven in any order; after every step nothing is lost, held twice, or given out beyond what there is."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from plait.executors.capacity import Capacity
from plait.executors.pool.core import GONE, READY, PoolCore, is_plain, resources_of, walltime_of
from plait.limits import RETRACT_S
from plait.model.resources import DEFAULT, Resources
from plait.model.task import CANCELLED, EXEC_DONE, LAUNCHED, AppSpec, Task

PLAIN = AppSpec(len, "plain")


def test_how_much_it_runs_may_be_asked_while_workers_come_and_go():
    core = PoolCore(Capacity(1))

    class Held(dict):
        def __len__(self):
            core.add_worker(len(core.workers))  # as the thread that serves it does meanwhile
            return 1

    core.add_worker(0).held = Held()
    assert core.running == 1


def make(number: int, resources: Resources | None = None, walltime_s: float | None = None) -> Task:
    app = (
        PLAIN
        if resources is None and walltime_s is None
        else AppSpec(len, "special", resources=resources, walltime_s=walltime_s)
    )
    task = Task(app, (), {}, None, 0.0)
    task.id, task.state, task.attempt = number, LAUNCHED, 1
    return task


def submit(core: PoolCore, task: Task) -> None:
    if is_plain(task):
        core.queue.append(task)
    else:
        core.add_special(task)


def pool(workers: int, cores: float = 0, prefetch: int | None = None) -> PoolCore:
    core = PoolCore(Capacity(cores or workers, memory_bytes=100), prefetch)
    for number in range(workers):
        core.ready(core.add_worker(number), 1000 + number, 0.0)
    return core


def end(core: PoolCore, worker, sequence: int, took_s: float = 0.001, now_s: float = 1.0) -> Task:
    task, _ = worker.held.pop(sequence)
    task.state = EXEC_DONE
    core.heard(worker, now_s, 1, took_s)
    return task


def ids(sent) -> list[list[int]]:
    return [[task.id for _, task in batch] for _, batch in sent]


# ------------------------------------------------------------------ what is decided
def test_idle_workers_are_filled_before_any_gets_a_second():
    core = pool(2)
    for number in range(2):
        submit(core, make(number))
    sent = core.fill(0.0)
    assert sorted(worker.number for worker, _ in sent) == [0, 1]
    assert sorted(number for batch in ids(sent) for number in batch) == [0, 1]


def test_the_worker_that_ran_last_gets_the_next():
    core = pool(3)
    chosen = set()
    for number in range(4):
        submit(core, make(number))
        ((worker, ((sequence, _),)),) = core.fill(0.0)
        chosen.add(worker.number)
        end(core, worker, sequence)
    assert len(chosen) == 1


def test_prefetch_bounds_what_waits_behind_a_task():
    core = pool(1, prefetch=3)
    for number in range(10):
        submit(core, make(number))
    assert sum(len(batch) for _, batch in core.fill(0.0)) == 4
    assert core.fill(0.0) == []
    assert (core.running, core.queued) == (4, 6)


def test_short_tasks_travel_in_larger_batches_than_long_ones():
    core = pool(1)
    for number in range(1000):
        submit(core, make(number))
    core.mean_s = 0.0001
    short = sum(len(batch) for _, batch in core.fill(0.0))
    core = pool(1)
    for number in range(1000):
        submit(core, make(number))
    core.mean_s = 10.0
    assert short > 20
    assert sum(len(batch) for _, batch in core.fill(0.0)) == 2


def test_a_special_task_runs_alone_and_nothing_waits_behind_it():
    core = pool(2)
    submit(core, make(0, Resources(priority=1)))
    submit(core, make(1))
    submit(core, make(2))
    sent = core.fill(0.0)
    assert ids(sent)[0] == [0]
    special = sent[0][0]
    assert special.alone
    assert len(special.held) == 1


def test_priority_then_submission():
    core = pool(1)
    for number, priority in enumerate([None, 3, 1, None, 2]):
        submit(core, make(number, Resources(priority=priority, cores=0.5)))
    order = []
    while sent := core.fill(0.0):
        ((worker, ((sequence, task),)),) = sent
        order.append(task.id)
        end(core, worker, sequence)
    assert order == [2, 4, 1, 0, 3]


def test_a_task_that_does_not_fit_is_not_overtaken():
    core = pool(2)
    submit(core, make(0))
    core.fill(0.0)
    submit(core, make(1, Resources(cores=2)))
    submit(core, make(2))
    assert core.fill(0.0) == []
    (busy,) = [worker for worker in core.workers.values() if worker.held]
    end(core, busy, 1)
    sent = core.fill(0.0)
    assert ids(sent) == [[1]]


def test_fractions_do_not_add_up_to_a_pool_that_gives_nothing():
    core = pool(3, cores=1)
    for number, cores in enumerate([0.1, 0.2, 0.7, 0.6, 0.3, 0.1] * 50):
        submit(core, make(number, Resources(cores=cores)))
    while sent := core.fill(0.0):
        for worker, batch in sent:
            end(core, worker, batch[0][0])
    submit(core, make(1000))
    assert ids(core.fill(0.0)) == [[1000]]


def test_cancelled_tasks_are_not_sent():
    core = pool(1)
    tasks = [make(number) for number in range(3)] + [make(3, Resources(cores=0.5))]
    for task in tasks:
        submit(core, task)
        task.state = CANCELLED
    assert core.fill(0.0) == []
    assert core.capacity.used_cores == 0
    submit(core, make(4))
    assert ids(core.fill(0.0)) == [[4]]


def test_a_worker_that_ends_gives_back_what_it_had_not_begun_in_order():
    core = pool(1, prefetch=4)
    for number in range(6):
        submit(core, make(number))
    core.fill(0.0)
    (worker,) = core.workers.values()
    blamed, rest = core.gone(worker, 2)
    assert blamed is not None
    assert blamed[0].id == 1
    assert [task.id for task in rest] == [0, 2, 3, 4]
    assert [task.id for task in core.queue] == [0, 2, 3, 4, 5]
    assert core.capacity.used_cores == 0


def test_taking_back_and_what_the_worker_says_of_it_cost_nothing_twice():
    core = pool(2, prefetch=3)
    for number in range(4):
        submit(core, make(number))
    core.fill(0.0)
    worker = max(core.workers.values(), key=lambda w: len(w.held))
    last = worker.sequence
    core.take_back(worker, 2, last)
    end(core, worker, 1)  # the outcome of the running task …
    core.heard(worker, 1.0, 0, 0.0)  # … and in a message of its own, that the others were skipped
    assert core.capacity.used_cores == sum(bool(w.held) for w in core.workers.values())
    assert core.capacity.used_cores >= 0


def test_taking_back_everything_from_a_worker_that_then_ends():
    core = pool(1, prefetch=3)
    for number in range(3):
        submit(core, make(number))
    core.fill(0.0)
    (worker,) = core.workers.values()
    end(core, worker, 1)
    core.take_back(worker, 2, worker.sequence)
    core.gone(worker, 1)
    assert core.capacity.used_cores == 0
    assert [task.id for task in core.queue] == [1, 2]


def test_silent_workers_are_stuck_only_when_another_has_nothing_to_do():
    core = pool(1, prefetch=3)
    for number in range(3):
        submit(core, make(number))
    core.fill(0.0)
    assert not core.has_waiting_behind()
    core.ready(core.add_worker(1), 1, 0.0)
    assert core.has_waiting_behind()
    assert core.stuck(RETRACT_S / 2) == []
    assert [worker.number for worker in core.stuck(RETRACT_S)] == [0]


def test_only_what_was_revoked_is_taken_back():
    core = pool(1, prefetch=5)
    for number in range(4):
        submit(core, make(number))
    core.fill(0.0)
    (worker,) = core.workers.values()
    assert [task.id for task in core.take_back(worker, 2, 4)] == [1, 2]
    assert sorted(worker.held) == [1, 4]


def test_what_was_sent_while_others_were_taken_back_is_taken_back_too():
    """It would wait behind a long task for as long as that runs, beside a worker that has nothing to do."""
    core = pool(1, prefetch=5)
    for number in range(4):
        submit(core, make(number))
    core.fill(0.0)
    (worker,) = core.workers.values()
    core.take_back(worker, 2, 4)
    core.queue.clear()  # others do them
    core.ready(core.add_worker(1), 1, 0.0)
    assert sorted(worker.held) == [1, 4]
    assert core.has_waiting_behind()
    assert core.stuck(RETRACT_S) == [worker]
    core.take_back(worker, 2, 5)
    core.queue.clear()
    assert not core.has_waiting_behind()
    assert core.stuck(RETRACT_S) == []


def test_the_last_that_wait_leave_first():
    core = pool(1)
    for number in range(4):
        submit(core, make(number))
    submit(core, make(4, Resources(priority=1)))
    core.queue[2].state = CANCELLED
    assert [task.id for task in core.unqueue(2)] == [3, 1]
    assert [task.id for task in core.unqueue(9)] == [0, 4]
    assert core.unqueue(1) == []


def test_what_waits_in_a_worker_leaves_but_for_what_it_runs_or_is_about_to():
    core = pool(1, prefetch=3)
    for number in range(4):
        submit(core, make(number))
    core.fill(0.0)
    (worker,) = core.workers.values()
    assert core.unstarted(worker, 0) == core.unstarted(worker, 1) == [2, 3, 4]
    assert [task.id for task in core.withdraw(worker, 3, worker.sequence)] == [2, 3]
    assert (list(worker.held), core.queued) == ([1, 2], 0)
    assert worker.stuck


def test_a_paused_pool_gives_nothing_out():
    core = pool(1)
    submit(core, make(0))
    core.paused = True
    assert core.fill(0.0) == []
    core.paused = False
    assert ids(core.fill(0.0)) == [[0]]


def test_what_a_call_asks_for_is_stronger_than_its_app():
    task = make(0, Resources(cores=2), 5.0)
    assert (resources_of(task).cores, walltime_of(task)) == (2, 5.0)
    task.more().resources = Resources(cores=3)
    task.more().walltime_s = 1.0
    assert (resources_of(task).cores, walltime_of(task)) == (3, 1.0)
    assert not is_plain(task)
    plain = make(1)
    assert is_plain(plain)
    plain.more().label = "x"
    assert is_plain(plain)
    assert resources_of(plain) == DEFAULT


def test_ending_twice_is_ending_once():
    core = pool(1)
    (worker,) = core.workers.values()
    assert core.end(worker, "walltime", 3)
    assert not core.end(worker, "cancelled", 4)
    assert (worker.end_reason, worker.ended_for) == ("walltime", 3)


# ------------------------------------------------------------------ in any order
@pytest.mark.slow
class TestAnyOrder:
    def test_it(self):
        from hypothesis.stateful import run_state_machine_as_test

        run_state_machine_as_test(Machine, settings=settings(max_examples=150, stateful_step_count=60, deadline=None))


class Machine(RuleBasedStateMachine):
    """A pool and a model of its workers: each has begun tasks up to `started`, and skips what was revoked, as worker.py does."""

    @initialize(count=st.integers(1, 4), prefetch=st.sampled_from([None, 0, 1, 5]))
    def start(self, count, prefetch):
        self.core = PoolCore(Capacity(count, memory_bytes=100), prefetch)
        self.now_s = 0.0
        self.tasks: list[Task] = []
        self.begun: Counter[int] = Counter()
        self.started: dict[int, int] = {}
        self.inbox: dict[int, list] = {}  # sent, not begun
        self.revoked: dict[int, set[int]] = {}
        self.lost: set[int] = set()
        self.number = 0
        for _ in range(count):
            self.add_worker()

    def add_worker(self):
        worker = self.core.add_worker(self.number)
        self.started[self.number] = 0
        self.inbox[self.number] = []
        self.revoked[self.number] = set()
        self.number += 1
        self.core.ready(worker, self.number, self.now_s)

    def live(self):
        return [worker for worker in self.core.workers.values() if worker.state != GONE]

    @rule(
        cores=st.sampled_from([None, None, None, 0.1, 0.2, 0.7, 1, 2, 3]),
        memory=st.sampled_from([0, 0, 60]),
        priority=st.sampled_from([None, None, 1, 2]),
    )
    def submit(self, cores, memory, priority):
        if cores is None:
            task = make(len(self.tasks))
        else:
            cores = min(cores, self.core.capacity.cores)
            task = make(len(self.tasks), Resources(cores=cores, memory_bytes=memory, priority=priority))
        self.tasks.append(task)
        submit(self.core, task)

    @rule()
    def fill(self):
        for worker, batch in self.core.fill(self.now_s):
            assert worker.state == READY
            self.inbox[worker.number] += batch

    def _begin(self, worker):
        """The worker goes on to its next task that is not revoked; what it skips it says at the end, as one message."""
        inbox, skipped = self.inbox[worker.number], []
        while inbox:
            sequence, task = inbox.pop(0)
            self.started[worker.number] = sequence
            if sequence in self.revoked[worker.number]:
                skipped.append(sequence)
                continue
            self.begun[task.id] += 1
            return skipped, (sequence, task)
        return skipped, None

    @precondition(lambda self: any(self.inbox[w.number] for w in self.live()))
    @rule(data=st.data(), apart=st.booleans(), took_s=st.sampled_from([0.00001, 0.001, 1.0]))
    def work(self, data, apart, took_s):
        """A worker runs one task and tells, with what it skipped on the way in the same message or in one of its own."""
        worker = data.draw(st.sampled_from([w for w in self.live() if self.inbox[w.number]]))
        skipped, running = self._begin(worker)
        for sequence in skipped:
            self.core.skipped(worker, sequence)
        if apart or running is None:
            self.core.heard(worker, self.now_s, 0, 0.0)
        if running is not None:
            held = worker.held.pop(running[0], None)
            assert held is not None, "it ran what had been taken back"
            if held[0].state == LAUNCHED:
                held[0].state = EXEC_DONE
            self.core.heard(worker, self.now_s, 1, took_s)

    @precondition(lambda self: any(task.state == LAUNCHED for task in self.tasks))
    @rule(data=st.data())
    def cancel(self, data):
        data.draw(st.sampled_from([task for task in self.tasks if task.state == LAUNCHED])).state = CANCELLED

    @precondition(lambda self: any(self.live()))
    @rule(data=st.data())
    def take_back(self, data):
        """As link.py: revoked first, and taken back only when the worker has not begun another meanwhile."""
        worker = data.draw(st.sampled_from(self.live()))
        started, last = self.started[worker.number], worker.sequence
        self.revoked[worker.number] |= set(range(started + 1, last))
        self.core.take_back(worker, started + 1, last)

    @rule()
    def take_back_from_the_stuck(self):
        self.now_s += RETRACT_S
        if self.core.has_waiting_behind():
            for worker in self.core.stuck(self.now_s):
                started, last = self.started[worker.number], worker.sequence
                self.revoked[worker.number] |= set(range(started + 1, last))
                self.core.take_back(worker, started + 1, last)

    @precondition(lambda self: any(self.live()))
    @rule(data=st.data(), count=st.integers(1, 5))
    def give_back(self, data, count):
        """Tasks that were not begun leave the pool: somebody else has them now."""
        for task in self.core.unqueue(count):
            task.state = CANCELLED
        worker = data.draw(st.sampled_from(self.live()))
        last = self.core.unstarted(worker, self.started[worker.number])[-count:]
        if last:
            self.revoked[worker.number] |= set(range(last[0], worker.sequence))
            for task in self.core.withdraw(worker, last[0], worker.sequence):
                task.state = CANCELLED

    @precondition(lambda self: any(self.live()))
    @rule(data=st.data(), running=st.booleans(), told=st.booleans())
    def gone(self, data, running, told):
        worker = data.draw(st.sampled_from(self.live()))
        skipped, current = self._begin(worker) if running else ([], None)
        for sequence in skipped:
            self.core.skipped(worker, sequence)
        if told:
            self.core.end(worker, "told")
        blamed, _ = self.core.gone(worker, self.started[worker.number])
        assert (blamed is None) == (current is None)
        if current is not None:
            assert blamed[0] is current[1]
            self.lost.add(blamed[0].id)
            if blamed[0].state == LAUNCHED:
                blamed[0].state = EXEC_DONE
        self.inbox[worker.number] = []
        self.add_worker()

    @precondition(lambda self: any(w.state == READY for w in self.live()))
    @rule(data=st.data())
    def retires(self, data):
        self.core.retires(data.draw(st.sampled_from([w for w in self.live() if w.state == READY])))

    @invariant()
    def nothing_is_given_twice(self):
        if not hasattr(self, "core"):
            return
        capacity = self.core.capacity
        busy = [worker for worker in self.core.workers.values() if worker.busy]
        assert capacity.used_cores == pytest.approx(sum(worker.cost.cores for worker in busy), abs=1e-6)
        assert capacity.used_memory_bytes == sum(worker.cost.memory_bytes for worker in busy)
        assert -1e-6 <= capacity.used_cores <= capacity.cores + 1e-6
        assert 0 <= capacity.used_memory_bytes <= capacity.memory_bytes
        assert all(worker.busy for worker in self.core.workers.values() if worker.held)

    @invariant()
    def every_task_is_in_one_place(self):
        if not hasattr(self, "core"):
            return
        places = Counter(task.id for task in self.core.queue if task.state == LAUNCHED)
        places += Counter(entry[3].id for entry in self.core.special if entry[3].state == LAUNCHED)
        places += Counter(
            task.id
            for worker in self.core.workers.values()
            for task, _ in worker.held.values()
            if task.state == LAUNCHED
        )
        assert places == Counter(task.id for task in self.tasks if task.state == LAUNCHED)

    @invariant()
    def nothing_runs_twice(self):
        if hasattr(self, "begun"):
            assert all(count == 1 for count in self.begun.values())

    def teardown(self):
        """However it stands, the rest gets done."""
        if not hasattr(self, "core"):
            return
        for _ in range(len(self.tasks) * 4 + 10):
            self.fill()
            for worker in self.live():
                if worker.state != READY and not self.inbox[worker.number]:
                    self.core.gone(worker, self.started[worker.number])
                    self.add_worker()
                while self.inbox[worker.number] and worker.number in self.core.workers:
                    skipped, running = self._begin(worker)
                    for sequence in skipped:
                        self.core.skipped(worker, sequence)
                    if running is not None:
                        worker.held.pop(running[0])
                        if running[1].state == LAUNCHED:
                            running[1].state = EXEC_DONE
                    self.core.heard(worker, self.now_s, 1, 0.001)
        assert [task.id for task in self.tasks if task.state == LAUNCHED] == []
