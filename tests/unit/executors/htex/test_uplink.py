"""What a manager says and does, on a real link with an interchange that follows a script."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import sys
from types import SimpleNamespace

import pytest

from plait.executors.htex import messages as m
from plait.executors.htex.log import Log
from plait.executors.htex.node import look
from plait.executors.htex.uplink import KEPT_BYTES, Uplink
from plait.executors.pool import wire
from plait.limits import CHUNK_BYTES
from plait.serialize import load_error
from plait.testing import tasks
from tests.support import wait_until
from tests.unit.executors.htex.scripted import Interchange, ended, serving, settings, value_of


@pytest.fixture
def interchange():
    made = Interchange()
    yield made
    made.close()


def holding(interchange, count=1, name="hold", **options) -> list[int]:
    """Tasks that run until the file ``go`` is there."""
    before = len(tasks.notes("notes"))
    numbers = interchange.run(
        tasks.hold, *[(os.path.abspath("notes"), name, os.path.abspath("go")) for _ in range(count)], **options
    )
    interchange.until(lambda: len(tasks.notes("notes")) == before + count)
    return numbers


def go() -> None:
    open("go", "w").close()


# ------------------------------------------------------------------ registering, and coming back
def test_it_says_who_it_is_and_what_it_has(interchange):
    with serving(
        interchange,
        max_workers=3,
        prefetch=5,
        walltime_s=100.0,
        accelerators=["0", "1", "2"],
        packages={"cloudpickle": "0.1", "unknown": "1"},
    ) as manager:
        register = interchange.registered()
        assert register.packages == [f"cloudpickle {importlib.metadata.version('cloudpickle')}, not 0.1"]
        assert (register.block, register.pid, register.workers, register.prefetch) == ("7", manager.pid, 3, 5)
        assert register.python.split(".")[:2] == [str(n) for n in sys.version_info[:2]]
        assert register.protocol == m.PROTOCOL
        assert register.plait
        assert register.gpus == ["0", "1", "2"]
        assert 90 < register.walltime_left_s <= 100
        assert register.cores >= 1
        assert register.memory_bytes > 0
        assert (register.holds, register.finished, register.draining) == ([], [], False)
        interchange.until(lambda: interchange.beats >= 3)


def test_tasks_run_once_and_their_payloads_are_not_opened(interchange):
    with serving(interchange):
        numbers = interchange.run(tasks.echo, *[(number,) for number in range(300)])
        (failed,) = interchange.run(tasks.fail, ("why",))
        outcomes = {item[0]: item for item in interchange.outcomes(301)}
        assert [value_of(outcomes[number]) for number in numbers] == list(range(300))
        assert isinstance(load_error(outcomes[failed][3]), ValueError)
        assert all(start <= stop for _, _, _, _, start, stop, _ in outcomes.values())
        assert interchange.seqs == list(range(1, len(interchange.seqs) + 1))


def test_after_a_lost_connection_it_comes_back_with_what_it_has(interchange):
    interchange.acknowledges = False
    with serving(interchange):
        (done,) = interchange.run(tasks.echo, ("done",))
        interchange.outcomes(1)
        (runs,) = holding(interchange)
        interchange.close()
        go()
        interchange.open()
        again = interchange.registered(2)
        assert again.manager == interchange.registers[0].manager
        assert (done, 1) in again.finished
        assert {(runs, 1)} <= {*again.holds, *again.finished}
        interchange.acknowledges = True
        assert interchange.results(2) == {done: "done", runs: "hold"}
        assert interchange.seqs[-2:] == [1, 2]
        interchange.run(tasks.echo, (1,))
        interchange.until(
            lambda: interchange.seqs[-1] == 3
        )  # what it delivered may have come a second time before that


def test_a_new_interchange_counts_anew(interchange):
    with serving(interchange):
        for _ in range(3):
            interchange.run(tasks.echo, ("taken",))
            interchange.outcomes(1)
        interchange.acknowledges = False
        (kept,) = interchange.run(tasks.echo, ("kept",))
        interchange.outcomes(1)
        assert interchange.seqs == [1, 2, 3, 4]
        interchange.close()
        interchange.epoch = "second"
        interchange.acknowledges = True
        interchange.open()
        interchange.registered(2)
        assert interchange.results(1) == {kept: "kept"}
        assert interchange.seqs[4:] == [1]


def test_it_registers_when_it_is_asked_who_it_is(interchange):
    with serving(interchange):
        (runs,) = holding(interchange)
        interchange.send(m.WhoAreYou())
        assert interchange.registered(2).holds == [(runs, 1)]
        go()
        interchange.outcomes(1)


class Broken:
    """A connection of which there is a new one, while these messages of the old one were not read yet."""

    due_s = 0.0

    def __init__(self, *messages):
        self.messages = [(message, b"code") for message in messages]
        self.sent = []
        self.is_new = True

    def reconnected(self):
        was_new, self.is_new = self.is_new, False
        return was_new

    def has_input(self):
        return bool(self.messages)

    def receive(self):
        found, self.messages = self.messages, []
        return found

    def send(self, message, payload=b""):
        self.sent.append(message)

    def backlog_bytes(self):
        return 0


def test_asked_who_it_is_it_reads_first_what_it_was_given():
    """Else it would say that it does not have what it is about to run, and another would get that too."""
    item = (1, 1, 0, b"", None, None)
    dealer = Broken(m.Function(0), m.WhoAreYou(), m.Tasks([item]))
    pool = SimpleNamespace(
        core=SimpleNamespace(queue=[], queued=0, workers={}), broken=None, at=lambda *_: None, stop=lambda: None
    )
    node = look(settings(), {"CUDA_VISIBLE_DEVICES": ""})
    uplink = Uplink(settings(), node, 2, "m", Log(""))
    uplink.attach(dealer, pool)
    uplink.pump(readable=True)
    (register,) = [message for message in dealer.sent if isinstance(message, m.Register)]
    assert register.holds == [(1, 1)]
    assert [task.id for task in pool.core.queue] == [1]


def test_outcomes_are_said_again_on_demand(interchange):
    interchange.acknowledges = False
    with serving(interchange):
        interchange.run(tasks.echo, ("a",))
        interchange.outcomes(1)
        interchange.send(m.SayAgain())
        assert [value_of(item) for item in interchange.outcomes(1)] == ["a"]
        interchange.send(m.Taken(1))
        interchange.send(m.SayAgain())
        interchange.run(tasks.echo, ("b",))
        assert [value_of(item) for item in interchange.outcomes(1)] == ["b"]


def test_one_that_was_given_up_ends_everything_and_comes_back_as_another(interchange):
    interchange.acknowledges = False
    with serving(interchange):
        interchange.run(tasks.echo, ("old",))
        interchange.outcomes(1)
        holding(interchange, 2)
        old = interchange.registers[0].manager
        interchange.send(m.DeclaredLost("it was silent"))
        again = interchange.registered(2)
        assert again.manager != old
        assert (again.holds, again.finished) == ([], [])
        interchange.run(os.getenv, ("PARSL_WORKER_POOL_ID",))
        assert [value_of(item) for item in interchange.outcomes(1)] == [again.manager]
        assert interchange.seqs == [1, 1]


def test_one_that_is_given_up_in_the_middle_of_an_argument_comes_back_too(interchange):
    with serving(interchange):
        function = interchange.function(tasks.echo)
        interchange.send(m.Tasks([(1, 1, function, b"", [2 * CHUNK_BYTES], None)]))
        interchange.send(m.Chunk(1, 1, 0), bytes(CHUNK_BYTES))
        interchange.send(m.DeclaredLost("it was silent"))
        again = interchange.registered(2)
        assert (again.holds, again.finished) == ([], [])
        interchange.run(tasks.echo, ("after",))
        interchange.outcomes(1)


# ------------------------------------------------------------------ taking tasks back
def test_recalled_tasks_are_those_that_were_not_begun(interchange):
    with serving(interchange, max_workers=1):
        (runs,) = holding(interchange)
        waiting = interchange.run(tasks.echo, *[(number,) for number in range(6)])
        back = []

        def returned():
            interchange.pump()
            message = interchange._find(m.Returned)
            back.extend(message.items if message else [])
            return len(back) == 4

        interchange.send(m.Recall(4))
        wait_until(returned)
        assert sorted(back) == [(number, 1) for number in waiting[2:]]
        go()
        assert interchange.results(3) == {runs: "hold", waiting[0]: 0, waiting[1]: 1}


def test_draining(interchange):
    with serving(interchange, max_workers=1):
        (runs,) = holding(interchange)
        waiting = interchange.run(tasks.echo, *[(number,) for number in range(5)])
        interchange.send(m.Drain("for the test"))
        late = interchange.run(tasks.echo, ("late",))
        back = []
        while len(back) < 6:
            back += interchange.message(m.Returned).items
        assert sorted(back) == [(number, 1) for number in waiting + late]
        interchange.send(m.WhoAreYou())
        assert interchange.registered(2).draining
        go()
        assert interchange.results(1) == {runs: "hold"}


def test_it_drains_by_itself_when_its_period_is_over(interchange):
    with serving(interchange, drain_after_s=0.2):
        assert "0.2 s" in interchange.message(m.Draining).reason
        interchange.run(tasks.echo, ("late",))
        assert interchange.message(m.Returned).items == [(0, 1)]


def test_cancelled_tasks_end_and_are_not_told_of(interchange):
    with serving(interchange, max_workers=1):
        (runs,) = holding(interchange)
        waits, other = interchange.run(tasks.echo, ("cancelled",), ("other",))
        interchange.send(m.Cancel([(runs, 1), (waits, 1), (waits, 7), (99, 1)]))
        assert interchange.results(1) == {other: "other"}
        (special,) = holding(interchange, grant=m.Grant())
        interchange.send(m.Cancel([(special, 1)]))
        assert interchange.message(m.Returned).items == [(special, 1)]  # what it had is free
        assert interchange.items == []


# ------------------------------------------------------------------ what tasks are granted, and how they end
def test_what_is_granted_is_bound_and_exported_for_that_task_only(interchange):
    cpus = sorted(os.sched_getaffinity(0))
    with serving(interchange, max_workers=1):
        grant = m.Grant(cores=(len(cpus) - 1,), gpus=("3", "5"))
        names = (
            "PLAIT_TASK_ID",
            "PLAIT_ATTEMPT",
            "PLAIT_CORES",
            "CUDA_VISIBLE_DEVICES",
            "PLAIT_GPU_IDS",
            "OMP_NUM_THREADS",
        )
        numbers = [interchange.run(os.getenv, (name,), grant=grant, attempt=3)[0] for name in names]
        assert list(interchange.results(6).values()) == [str(numbers[0]), "3", "1", "3,5", "3,5", "1"]
        interchange.run(tasks.affinity, (), grant=grant)
        assert list(interchange.results(1).values()) == [[cpus[-1]]]
        interchange.run(tasks.affinity, ())
        interchange.run(os.getenv, *[(name,) for name in names[:-1]])
        assert list(interchange.results(6).values()) == [cpus, None, None, None, None, None]


def test_workers_know_their_place(interchange):
    with serving(interchange, max_workers=2, accelerators=["0", "1"], cpu_affinity="block"):
        manager = interchange.registers[0].manager
        holding(interchange)  # so that one worker answers all
        names = [
            f"{prefix}_WORKER_{what}"
            for prefix in ("PARSL", "PLAIT")
            for what in ("RANK", "COUNT", "POOL_ID", "BLOCK_ID")
        ]
        numbers = interchange.run(os.getenv, *[(name,) for name in names], ("CUDA_VISIBLE_DEVICES",))
        results = interchange.results(9)
        found = [results[number] for number in numbers]
        assert found[:4] == found[4:8] == [found[8], "2", manager, "7"]
        go()
        interchange.outcomes(1)


def test_a_lost_worker_is_told_with_what_ended_it(interchange):
    with serving(interchange):
        (number,) = interchange.run(signal.raise_signal, (signal.SIGKILL.value,))
        ((task, attempt, status, _, _, _, worker),) = outcomes = interchange.outcomes(1)
        assert (task, attempt, status) == (number, 1, m.WORKER_LOST)
        _, (who, host, how) = value_of(outcomes[0])
        assert (who, host) == (worker, interchange.registers[0].hostname)
        assert "SIGKILL" in how


def test_a_task_that_runs_for_too_long_is_ended(interchange):
    with serving(interchange):
        (number,) = interchange.run(tasks.loop, (os.path.abspath("notes"),), grant=m.Grant(walltime_s=0.3))
        status, text = interchange.results(1)[number]
        assert status == m.TIMED_OUT
        assert f"task {number} ran longer than its walltime" in text


def test_large_arguments_and_results_travel_in_chunks(interchange):
    size = 5 * CHUNK_BYTES + 1
    with serving(interchange):
        segments = wire.dump_value(((b"x" * size,), {}))
        fd = segments.file()
        with open(fd, "rb") as file:
            data = file.read()
        function = interchange.function(tasks.echo)
        interchange.send(m.Tasks([(1000, 1, function, b"", segments.sizes, None)]))
        for at in range(0, len(data), CHUNK_BYTES):
            interchange.send(m.Chunk(1000, 1, at), data[at : at + CHUNK_BYTES])
        big = interchange.message(m.BigOutcome)
        assert big.item[:3] == (1000, 1, m.DONE)
        interchange.until(lambda: len(interchange.big[1000]) >= wire.offsets(big.sizes)[-1])
        taken = [message.upto for message in interchange.got if isinstance(message, m.ChunkTaken)]
        assert taken[-1] == len(data)
        with open("value", "wb") as file:
            file.write(interchange.big[1000])
        assert wire.load_segments(os.open("value", os.O_RDONLY), big.sizes) == b"x" * size
        interchange.send(m.Taken(big.seq))
        segments.close()


def test_half_arguments_are_not_held_after_a_lost_connection(interchange):
    with serving(interchange):
        function = interchange.function(tasks.echo)
        interchange.send(m.Tasks([(1, 1, function, b"", [2 * CHUNK_BYTES], None)]))
        interchange.send(m.Chunk(1, 1, 0), bytes(CHUNK_BYTES))
        interchange.run(tasks.echo, ("after",))
        interchange.outcomes(1)
        interchange.send(m.WhoAreYou())
        assert interchange.registered(2).holds == []


def test_workers_wait_when_nobody_takes_their_outcomes(interchange):
    interchange.acknowledges = False
    with serving(interchange, max_workers=1):
        numbers = interchange.run(bytes, *[(2_000_000,)] * 60)
        interchange.until(lambda: sum(len(area) for area in interchange.big.values()) > KEPT_BYTES)
        beats = interchange.beats
        interchange.until(lambda: interchange.beats >= beats + 3)
        assert len(interchange.items) < 45
        interchange.acknowledges = True
        while len(interchange.items) < 60:
            interchange.send(m.Taken(interchange.seqs[-1]))
            seen = len(interchange.items)
            interchange.until(lambda seen=seen: len(interchange.items) > seen)
        assert sorted(item[0] for item in interchange.items) == numbers


def test_times_are_those_of_the_interchange(interchange):
    interchange.ahead_s = 5000.0
    with serving(interchange):
        interchange.until(lambda: interchange.beats >= 2)
        interchange.run(tasks.echo, (1,))
        ((*_, start_s, _, _),) = interchange.outcomes(1)
        assert abs(start_s - interchange.now_s()) < 20


# ------------------------------------------------------------------ the end
def test_told_to_stop_it_ends_soon_whatever_runs(interchange):
    with serving(interchange) as manager:
        interchange.run(tasks.family, (os.path.abspath("notes"),), grant=m.Grant())
        interchange.until(lambda: len(tasks.notes("notes")) == 5)
        interchange.send(m.Stop("the run is over"))
        assert ended(interchange, manager, 2.0 + 1.0) == 0


def test_refused_it_ends_and_says_why(interchange):
    with serving(interchange) as manager:
        interchange.send(m.Refused("the wrong Python"))
        assert ended(interchange, manager) == 1
        assert "refused this manager: the wrong Python" in manager.text()


def test_a_silent_interchange_ends_it(interchange):
    interchange.threshold_s = 0.6
    interchange.period_s = 0.1
    with serving(interchange) as manager:
        holding(interchange)
        interchange.answers = False
        wait_until(lambda: manager.process.poll() is not None)
        assert manager.process.returncode == 1
        assert "nothing was heard of the interchange" in manager.text()


def test_one_that_was_stopped_itself_does_not_take_the_interchange_for_silent(interchange):
    interchange.threshold_s = 0.5
    interchange.period_s = 0.1
    with serving(interchange) as manager:
        manager.signal(signal.SIGSTOP)
        beats = interchange.beats
        interchange.until(lambda: interchange.now_s() > interchange.heard_s + 1.5)
        manager.signal(signal.SIGCONT)
        interchange.until(lambda: interchange.beats > beats + 3)
        assert manager.process.poll() is None


# ------------------------------------------------------------------ whole nodes
def test_it_says_which_nodes_it_gives_away_and_who_has_them(interchange, monkeypatch):
    monkeypatch.setenv("PLAIT_NODELIST", "n1,n2,n3")
    monkeypatch.setenv("PLAIT_NODE_NAME", "n1")
    with serving(interchange, gives_nodes=True, max_workers=2):
        register = interchange.registered()
        assert (register.node, register.hosts, register.gangs, register.workers) == ("n1", ["n1", "n2", "n3"], [], 2)
        assert register.cores >= 2
        (runs,) = holding(interchange, grant=m.Grant(hosts=("n1", "n3"), members=("other",), ranks=4, ranks_per_node=2))
        interchange.close()
        interchange.open()
        assert interchange.registered(2).gangs == [(runs, 1, ["other"], [0, 2])]
        go()
        assert interchange.results(1) == {runs: "hold"}
