from __future__ import annotations

import os

import msgspec
import pytest

from plait.executors.htex import messages as m
from plait.executors.htex.link import Dealer, new_keys
from plait.executors.htex.places import Ring, ring_file
from plait.executors.pool.page import anonymous_file
from tests.support import wait_until
from tests.unit.executors.htex.interchange_lab import Lab


@pytest.fixture
def labs():
    made = []

    def make(**changes):
        made.append(Lab(**changes))
        return made[-1]

    yield make
    for lab in made:
        lab.close()


@pytest.fixture
def lab(labs):
    return labs()


def offer(*numbers, payload=b"payload", ask=None):
    return m.Offer([(number, 1, 0, payload, None, ask) for number in numbers])


def test_a_task_goes_out_and_its_outcome_comes_back(lab):
    manager = lab.manager("m0").registered()
    up = lab.wait(m.ManagerUp)
    assert (up.manager, up.block, up.workers, up.again) == ("m0", "b0", 2, False)
    lab.send(m.Function(0), b"function")
    lab.send(offer(7))
    tasks = manager.wait(m.Tasks)
    assert tasks.items == [(7, 1, 0, b"payload", None, None)]
    assert manager.payload(manager.wait(m.Function)) == b"function"
    assert lab.wait(m.Placed) == m.Placed("m0", [(7, 1)])
    manager.finish((7, 1))
    delivered = lab.wait(m.Delivered)
    assert delivered.items == [(7, 1, m.DONE, b"result", 1.0, 1.001, 0)]
    lab.send(m.Taken(delivered.seq))
    assert manager.wait(m.Taken) == m.Taken(1)


def test_once_a_place_was_sent_all_are(lab):
    """What was written down is read before what was sent, so an attempt that is placed a second time would be where it was first."""
    manager = lab.manager("m0").registered()
    fd = ring_file()
    ring = Ring(fd)
    lab.send(m.Places(), b"", (fd,))
    ring._numbers[0] = ring._room  # full
    lab.send(offer(1))
    assert lab.wait(m.Placed) == m.Placed("m0", [(1, 1)])
    ring._numbers[1] = ring._numbers[0]  # and read
    manager.finish((1, 1))
    lab.wait(m.Delivered)
    lab.send(offer(2))
    assert lab.wait(m.Placed, 2) == m.Placed("m0", [(2, 1)])
    ring.close()


def test_places_are_sent_where_they_cannot_be_written_down(lab):
    manager = lab.manager("m0").registered()
    lab.send(m.Places(), b"", (anonymous_file(100),))
    lab.send(offer(1))
    assert lab.wait(m.Placed) == m.Placed("m0", [(1, 1)])
    manager.wait(m.Tasks)


def test_many_tasks_over_several_managers(lab):
    managers = [lab.manager(f"m{n}", f"b{n}").registered() for n in range(3)]
    lab.send(m.Function(0), b"function")
    for start in range(0, 3000, 100):
        lab.send(offer(*range(start, start + 100)))
    done: set[int] = set()

    def work():
        for manager in managers:
            fresh = [(item[0], item[1]) for item in manager.tasks() if item[0] not in done]
            if fresh:
                done.update(task for task, _ in fresh)
                manager.finish(*fresh)
        return sum(len(message.items) for message in lab.all(m.Delivered)) == 3000

    wait_until(work, 30)
    assert sorted(item[0] for message in lab.all(m.Delivered) for item in message.items) == list(range(3000))
    assert all(manager.tasks() for manager in managers)


def test_a_manager_without_an_allowed_key_is_not_heard(lab):
    listening = lab.wait(m.Listening)
    with pytest.raises(ConnectionError):
        Dealer(listening.addresses, listening.port, lab.public, *new_keys(), 0.5)


def test_a_revoked_block_is_not_heard_any_more(lab):
    manager = lab.manager("m0").registered()
    lab.send(m.Allow("b0", ""))
    lab.send(m.Query(1, "managers"))
    lab.wait(m.Answer)
    manager.send(m.Draining("now"))
    manager.send(m.Heartbeat(1.0))
    other = lab.manager("m1", "b1").registered()
    other.send(m.Heartbeat(1.0))
    other.wait(m.Heartbeat)
    assert manager.all(m.Heartbeat) == []


# ---------------------------------------------------------------------- big values
def file_of(data: bytes) -> int:
    fd = anonymous_file(0)
    os.write(fd, data)
    return fd


def test_a_tasks_segments_are_pulled_and_follow_in_chunks(lab):
    manager = lab.manager("m0").registered()
    data = os.urandom(5_000_000)
    lab.send(m.Offer([(1, 1, 0, b"", [len(data)], None)]))
    assert lab.wait(m.Pull).items == [(1, 1)]
    total = (len(data) + 63) // 64 * 64
    lab.send(m.Data(1, 1), b"", (file_of(data + bytes(total - len(data))),))
    got = bytearray()
    seen = 0
    while len(got) < total:
        chunk = manager.wait(m.Chunk, seen + 1)
        seen += 1
        assert chunk.offset == len(got)
        got += manager.payload(chunk)
        manager.send(m.ChunkTaken(1, 1, len(got)))
    assert bytes(got[: len(data)]) == data


def test_over_the_same_connection_segments_go_on(lab):
    """Its second registration was written before the task had come."""
    manager = lab.manager("m0").registered()
    data = bytes(640)
    lab.send(m.Offer([(1, 1, 0, b"", [len(data)], m.Ask(cores=1.0))]))
    lab.wait(m.Pull)
    manager.send(msgspec.structs.replace(manager.register, nth=2))
    manager.wait(m.Welcome, 2)
    lab.send(m.Data(1, 1), b"", (file_of(data),))
    assert manager.payload(manager.wait(m.Chunk)) == data
    assert manager.all(m.Cancel) == []
    assert len(manager.all(m.Tasks)) == 1


def send_result(manager, task, data, sizes=None, seq=None):
    manager.seq += 1
    item = (task, 1, m.DONE, b"", 1.0, 2.0, 0)
    answers = len(manager.all(m.ChunkTaken))
    manager.send(m.BigOutcome(manager.seq, item, sizes or [len(data)]))
    if manager.wait(m.ChunkTaken, answers + 1).upto < 0:
        return
    for start in range(0, len(data), 500_000):
        manager.send(m.Chunk(task, 1, start), data[start : start + 500_000])


def test_a_big_result_comes_as_a_file(lab):
    manager = lab.manager("m0").registered()
    lab.send(offer(1))
    manager.wait(m.Tasks)
    data = os.urandom(64 * 40_000)
    send_result(manager, 1, data)
    big = lab.wait(m.BigDelivered)
    assert big.item[:3] == (1, 1, m.DONE)
    assert big.sizes == [len(data)]
    [fd] = lab.files(big)
    assert os.pread(fd, len(data) + 1, 0) == data
    lab.send(m.Taken(big.seq))
    assert manager.wait(m.Taken) == m.Taken(1)
    assert manager.all(m.ChunkTaken)[-1].upto == len(data)


def test_a_result_above_the_limit_is_refused(labs):
    lab = labs(max_result_bytes=1_000_000)
    manager = lab.manager("m0").registered()
    lab.send(offer(1))
    manager.wait(m.Tasks)
    send_result(manager, 1, bytes(2_000_000))
    [item] = lab.wait(m.Delivered).items
    assert item[:4] == (1, 1, m.RESULT_TOO_LARGE, b"\x92\xce\x00\x1e\x84\x80\xce\x00\x0f\x42\x40")
    assert manager.wait(m.ChunkTaken) == m.ChunkTaken(1, 1, -1)


def test_a_limit_below_what_travels_whole_holds_too(labs):
    lab = labs(max_result_bytes=10)
    manager = lab.manager("m0").registered()
    lab.send(offer(1, 2))
    manager.wait(m.Tasks)
    manager.finish((1, 1), payload=bytes(11))
    manager.finish((2, 1), payload=bytes(10))
    lab.wait(m.Delivered, 2)
    assert [message.items[0][2] for message in lab.all(m.Delivered)] == [m.RESULT_TOO_LARGE, m.DONE]


def test_a_driver_that_does_not_read_stops_the_placing_and_loses_nothing(lab):
    """The outcomes of a flood stay with the manager, which is heard all the while."""
    manager = lab.manager("m0", workers=20_000).registered()
    count = 2_000
    for start in range(0, count, 100):
        lab.send(offer(*range(start, start + 100)))
    wait_until(lambda: lab.stream.flush() or len(manager.tasks()) == count)
    result = bytes(60_000)
    kept = {}
    for task in range(count):  # 120 MB, and the driver does not read
        kept[manager.finish((task, 1), payload=result)] = task
        manager.take()
    manager.send(m.Heartbeat(1.0))
    manager.wait(m.Heartbeat)
    with open(f"/proc/{lab.process.pid}/status") as file:
        peak_kb = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    assert peak_kb < 250_000
    done = set()
    asked = []

    def read():
        lab.take()
        for message in lab.all(m.Delivered):
            done.update(item[0] for item in message.items)
            lab.send(m.Taken(message.seq))
        lab.messages.clear()
        if manager.all(m.SayAgain):
            taken = max((x.seq for x in manager.all(m.Taken)), default=0)
            manager.messages.clear()
            asked.append(taken)
            for seq, task in kept.items():
                if seq > taken:
                    manager.send(m.Outcomes(seq, [(task, 1, m.DONE, result, 1.0, 1.001, 0)]))
        return len(done) == count

    wait_until(read, 30)
    assert asked
