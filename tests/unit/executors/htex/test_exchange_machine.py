"""The interchange under everything that can happen, as `test_core_machine`, but whole: with its tables of connections, big arguments and big results."""

from __future__ import annotations

import os

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from plait.executors.htex import messages as m
from plait.executors.htex.exchange import DEFER_BYTES, Exchange
from plait.executors.htex.settings import InterchangeSettings
from plait.executors.pool.page import anonymous_file
from tests.unit.executors.htex.test_core_machine import TOTAL, CoreMachine

SETTINGS = InterchangeSettings(
    label="htex", run_id="run", bind=[], port=None, port_range=(1, 2), server_public="", server_secret="", heartbeat_period_s=1.0,
    heartbeat_threshold_s=1.0, cores_per_worker=1.0, memory_per_worker=0, policy=b"", packs=False, expected=[], epoch="",
)  # fmt: skip


class Driver:
    """The interchange's link to the driver."""

    def __init__(self, hears):
        self.pending = 0
        self.frames = []
        self._hears = hears

    def fileno(self):
        return 0

    def receive(self):
        frames, self.frames = self.frames, []
        return frames

    def send(self, message, payload=b"", fds=()):
        for fd in fds:
            os.close(fd)
        if isinstance(message, m.BigDelivered):
            assert fds, "a result without its file"
        self._hears(message)


class Router:
    """Its links to managers."""

    def __init__(self, sends):
        self.found = []
        self.send = sends

    def fileno(self):
        return 1

    def receive(self, limit):
        del limit
        found, self.found = self.found, []
        return found

    def backlog_bytes(self, conn):
        del conn
        return 0


class Silent:
    def info(self, *_):
        pass

    warning = info


class ExchangeMachine(CoreMachine):
    exchange = None

    # -- the interchange
    def begin_life_of_interchange(self, **more):
        self.end_life_of_interchange()
        super().begin_life_of_interchange(**more)
        self.wanted = []  # attempts whose arguments the interchange has asked for
        self.exchange = Exchange(
            SETTINGS, Driver(self.driver_hears), Router(self.router_sends), self.core, Silent(), lambda: self.now_s
        )

    def end_life_of_interchange(self):
        if self.exchange is not None:
            self.exchange.pulls.close()
            self.exchange.results.close()

    def teardown(self):
        try:
            super().teardown()
        finally:
            self.end_life_of_interchange()

    def arrives(self, wire, message):
        self.exchange.router.found.append(
            (wire.number, "", message, bytes(TOTAL) if isinstance(message, m.Chunk) else b"")
        )
        self.exchange._from_managers(self.now_s)

    def router_sends(self, conn, message, payload=b""):
        del payload
        self.goes_to_a_manager(self.wire_of[conn], message)

    def send(self):
        exchange = self.exchange
        exchange._dispatch()
        exchange.results.forget_unused()
        while exchange.pulls.pump(self.now_s):
            pass
        exchange.results.tick(self.now_s)

    def tell(self, message, payload=b"", fds=()):
        self.exchange.driver.frames.append((message, payload, list(fds)))
        self.exchange._from_driver(self.now_s)
        self.send()

    @rule()
    def the_driver_reads_slowly(self):
        self.exchange.driver.pending = DEFER_BYTES + 1

    @rule()
    def the_driver_reads_again(self):
        self.exchange.driver.pending = 0
        self.exchange._ask_deferred()

    # -- big values
    @rule(
        arguments=st.booleans(),
        results=st.booleans(),
        asks=st.lists(st.sampled_from([None, m.Ask(gpus=1), m.Ask(nodes=2)]), min_size=1, max_size=4),
    )
    def offer_big(self, arguments, results, asks):
        numbers = range(len(self.asks), len(self.asks) + len(asks))
        self.big_arguments.update(numbers if arguments else ())
        self.big_results.update(numbers if results else ())
        self.offer(asks)

    def driver_pull(self, message):
        self.wanted += message.items

    @rule()
    @precondition(lambda self: self.wanted)
    def the_driver_sends_arguments(self):
        wanted, self.wanted = self.wanted, []
        for task, attempt in wanted:
            if task not in self.ended and self.attempt[task] == attempt:
                fd = anonymous_file(TOTAL)
                self.tell(m.Data(task, attempt), b"", [fd])

    def all_messages_arrive(self):
        for _ in range(2):
            if self.wanted:
                self.the_driver_sends_arguments()
            super().all_messages_arrive()

    # -- the end
    @rule()
    def everybody_beats(self):
        if self.exchange.driver.pending:
            self.the_driver_reads_again()
        super().everybody_beats()

    def nothing_is_left(self):
        super().nothing_is_left()
        exchange = self.exchange
        assert not len(exchange.pulls)
        assert not len(exchange.results)
        assert (exchange.results.bytes, exchange.results._files, exchange.pulls._pulls) == (0, 0, 0)
        assert not any((exchange.pulls._senders, exchange.pulls._pulled, exchange.pulls._wanted))


TestExchange = ExchangeMachine.TestCase
TestExchange.settings = settings(max_examples=25, stateful_step_count=60)
