from __future__ import annotations

import os
import shutil
import struct
import zlib
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.model import events as ev
from plait.monitoring import journal
from plait.monitoring.base import EventSink
from plait.monitoring.journal import MAGIC, EventStream, Journal, edge_frames, journal_files, read_frames, read_journal
from tests.support import wait_until

STARTED = (ev.RUN_STARTED, 1.0, 2.0, "id", 1, "0.1", "3.11", "host", 5, "a.py", ["processes"])
EVERY_KIND = [
    STARTED,
    (ev.TASK_SUBMITTED, 1.5, 0, "square"),
    (ev.TASK_SUBMITTED, 1.5, 1, "total", [0]),
    (ev.ATTEMPT_STARTED, 1.6, 0, 1, "processes", 3),
    (ev.TASK_ENDED, 1.7, 0, 3, 1, 1.6, 1.7, 3),
    (ev.TASK_ENDED, 1.8, 1, 4, 2, 0.0, 0.0, -1, "E: text", "why", "trace"),
    (ev.ATTEMPT_FAILED, 1.75, 1, 1, True, "lost", 0.5),
    (ev.WORKER_STARTED, 1.4, "processes", 3, 77),
    (ev.WORKER_ENDED, 1.9, "processes", 3, "recycled"),
    (ev.TASK_JOINING, 1.9, 1, [0, -1]),
    (ev.NOTE, 1.95, "note"),
    (ev.RUN_ENDED, 2.0, 3.0, "1 done"),
]


@pytest.fixture
def written(tmp_path):
    """A journal of three frames, and its bytes."""
    log = Journal(str(tmp_path))
    for part in (EVERY_KIND[:4], EVERY_KIND[4:9], EVERY_KIND[9:]):
        log.write(part)
    log.close()
    path = tmp_path / "journal.plj"
    return path, path.read_bytes()


def as_tuples(events):
    """Events as they were written, defaults at the end left out or not."""
    return [msgspec.msgpack.decode(msgspec.msgpack.encode(event)) for event in events]


def test_what_was_written_is_read(tmp_path, written):
    read = as_tuples(read_journal(str(tmp_path)))
    assert len(read) == len(EVERY_KIND)
    for wrote, got in zip(EVERY_KIND, read, strict=True):
        assert got[: len(wrote)] == list(wrote)


def test_records_of_many_tasks_are_read_as_single_events(tmp_path):
    log = Journal(str(tmp_path))
    log.write(
        [
            (ev.TASKS_SUBMITTED, "f", [0, 1], [1.0, 1.5]),
            (ev.ATTEMPTS_STARTED, 2.0, "p", 3, [0, 1]),
            (ev.TASKS_DONE, 3, [0, 1], [2.1, 2.2], [2.2, 2.3]),
        ]
    )
    log.close()
    assert list(read_journal(str(tmp_path))) == [
        ev.TaskSubmitted(1.0, 0, "f"),
        ev.TaskSubmitted(1.5, 1, "f"),
        ev.AttemptStarted(2.0, 0, 1, "p", 3),
        ev.AttemptStarted(2.0, 1, 1, "p", 3),
        ev.TaskEnded(2.2, 0, 3, 1, 2.1, 2.2, 3),
        ev.TaskEnded(2.3, 1, 3, 1, 2.2, 2.3, 3),
    ]


def test_a_task_in_the_stream_stands_for_its_submission():
    sink = Sink()
    stream = EventStream([sink])
    app, other = SimpleNamespace(name="f"), SimpleNamespace(name="g")
    for number, spec in enumerate([app, app, other]):
        stream.emit(SimpleNamespace(app=spec, id=number, submit_s=float(number)))
    stream.close()
    submitted = [(name, number) for _, name, numbers, _ in sink.got for number in numbers]
    assert submitted == [("f", 0), ("f", 1), ("g", 2)]


def test_only_its_owner_may_read_it(written):
    assert os.stat(written[0]).st_mode & 0o777 == 0o600


def test_a_second_journal_does_not_overwrite_the_first(tmp_path, written):
    with pytest.raises(FileExistsError):
        Journal(str(tmp_path))


def test_a_tail_torn_at_any_offset_costs_its_frame_only(written):
    path, data = written
    ends = frame_ends(data)
    for length in range(len(data)):
        path.write_bytes(data[:length])
        whole = sum(end <= length for end in ends)
        assert len(list(read_frames(str(path)))) == whole, length
        assert list(edge_frames(str(path.parent))) == edges(path)


def edges(path):
    frames = list(read_frames(str(path)))
    return [frames[0], frames[-1]] if frames else []


def frame_ends(data):
    ends, at = [], len(MAGIC)
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        at += 8 + length
        ends.append(at)
    return ends


def test_a_flipped_byte_never_gives_a_wrong_event(tmp_path, written):
    path, data = written
    whole = list(read_journal(str(tmp_path)))
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        read = list(read_journal(str(tmp_path)))
        assert read == whole[: len(read)], at
        assert len(read) < len(whole)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(tmp_path_factory, junk):
    folder = tmp_path_factory.mktemp("junk")
    (folder / "journal.plj").write_bytes(MAGIC + junk)
    list(read_journal(str(folder)))
    list(edge_frames(str(folder)))


def test_events_and_fields_of_a_newer_plait_are_passed_over(tmp_path):
    body = msgspec.msgpack.encode(
        [STARTED, (200, 1.0, "from the future"), (*EVERY_KIND[1], [], "a new field"), EVERY_KIND[-1]]
    )
    (tmp_path / "journal.plj").write_bytes(MAGIC + struct.pack("<II", len(body), zlib.crc32(body)) + body)
    read = list(read_journal(str(tmp_path)))
    assert [type(event) for event in read] == [ev.RunStarted, ev.TaskSubmitted, ev.RunEnded]


def test_a_file_that_is_no_journal_says_nothing(tmp_path):
    (tmp_path / "journal.plj").write_bytes(b"something else altogether")
    assert list(read_journal(str(tmp_path))) == []
    assert list(edge_frames(str(tmp_path))) == []


def test_texts_that_are_not_unicode_are_spelled_out(tmp_path):
    log = Journal(str(tmp_path))
    log.write([(ev.TASK_ENDED, 1.8, 1, 4, 2, 0.0, 0.0, -1, "E: \udcfc", ValueError("\udcfd"), "\u2192")])
    log.write([(ev.NOTE, 1.9, "after")])
    log.close()
    ended, note = read_journal(str(tmp_path))
    assert (ended.error, ended.why) == ("E: \\udcfc", "\\udcfd")
    assert note.text == "after"


def test_rotation(tmp_path):
    log = Journal(str(tmp_path), file_bytes=2000)
    for number in range(600):
        log.write([(ev.TASK_SUBMITTED, 1.0, number, "app" * 10)])
    log.close()
    files = journal_files(str(tmp_path))
    assert [os.path.basename(f) for f in files][:3] == ["journal.plj", "journal-001.plj", "journal-002.plj"]
    assert [event.task for event in read_journal(str(tmp_path))] == list(range(600))
    assert next(msgspec.msgpack.decode(body)[0][2] for body in edge_frames(str(tmp_path))) == 0


def test_the_end_is_found_when_it_filled_its_file(tmp_path):
    log = Journal(str(tmp_path), file_bytes=1)
    for event in (EVERY_KIND[0], EVERY_KIND[-1]):
        log.write([event])
    log.close()
    assert len(journal_files(str(tmp_path))) == 3
    assert [msgspec.msgpack.decode(body)[0][0] for body in edge_frames(str(tmp_path))] == [ev.RUN_STARTED, ev.RUN_ENDED]


def test_other_files_are_not_journals(tmp_path, written):
    for name in ("journal-1.plj", "journal.plj.bak", "plait.log"):
        (tmp_path / name).write_text("x")
    assert journal_files(str(tmp_path)) == [str(written[0])]


def test_a_disk_that_is_full_from_the_beginning_is_a_journal_that_ends_at_once(tmp_path, monkeypatch, caplog):
    def full(fd, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal.os, "write", full)
    ended = Journal(str(tmp_path))
    ended.write(EVERY_KIND[:3])
    ended.close()
    assert caplog.text.count("the run goes on without it") == 1


def test_a_next_file_that_cannot_be_made_ends_the_journal(tmp_path, caplog):
    folder = tmp_path / "run"
    folder.mkdir()
    ended = Journal(str(folder), file_bytes=1)
    shutil.rmtree(folder)
    ended.write(EVERY_KIND[:3])
    ended.write(EVERY_KIND[:3])
    ended.close()
    assert caplog.text.count("the run goes on without it") == 1


def test_a_full_disk_ends_the_journal_with_one_warning(tmp_path, monkeypatch, caplog):
    log = Journal(str(tmp_path))
    log.write(EVERY_KIND[:3])
    real = os.write

    def full(fd, data):
        if fd == log._fd:
            real(fd, data[:5])  # part of a frame reaches the disk
            raise OSError(28, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(journal.os, "write", full)
    log.write(EVERY_KIND[3:5])
    log.write(EVERY_KIND[5:7])
    monkeypatch.undo()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "No space left" in caplog.text
    assert len(list(read_journal(str(tmp_path)))) == 3
    log.write(EVERY_KIND[9:])
    log.close()
    *_, note, ended = read_journal(str(tmp_path))
    assert (type(note), type(ended)) == (ev.Note, ev.RunEnded)
    assert "it could not be written (No space left on device)" in note.text
    assert len(list(read_journal(str(tmp_path)))) == 5


def test_no_room_for_the_end_either(tmp_path, monkeypatch, caplog):
    log = Journal(str(tmp_path))
    log.write(EVERY_KIND[:3])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal.os, "write", full)
    log.write(EVERY_KIND[3:5])
    log.write(EVERY_KIND[9:])
    monkeypatch.undo()
    log.write(EVERY_KIND[9:])
    log.close()
    assert len(caplog.records) == 1
    assert len(list(read_journal(str(tmp_path)))) == 3


def test_a_full_disk_that_says_so_at_the_end_only(tmp_path, monkeypatch, caplog):
    log = Journal(str(tmp_path))
    real = os.close

    def full(fd):
        real(fd)
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr(journal.os, "close", full)
    log.close()
    log.close()
    assert "may lack its end ([Errno 122] Disk quota exceeded)" in caplog.text


def test_a_short_write_is_continued(tmp_path, monkeypatch):
    real = os.write
    log = Journal(str(tmp_path))
    monkeypatch.setattr(journal.os, "write", lambda fd, data: real(fd, data[:7]))
    log.write(EVERY_KIND)
    monkeypatch.undo()
    log.close()
    assert len(list(read_journal(str(tmp_path)))) == len(EVERY_KIND)


class Sink(EventSink):
    def __init__(self, error=None):
        self.got, self.closed, self.error = [], False, error

    def write(self, events):
        if self.error:
            raise self.error
        self.got += events

    def close(self):
        self.closed = True


def test_the_stream_brings_events_in_order_and_closes():
    sink = Sink()
    stream = EventStream([sink])
    for number in range(5000):
        stream.emit((ev.NOTE, float(number), ""))
    stream.close()
    assert [event[1] for event in sink.got] == list(map(float, range(5000)))
    assert sink.closed


def test_a_sink_may_come_later():
    first, later = Sink(), Sink()
    stream = EventStream([first])
    stream.emit((ev.NOTE, 1.0, "x"))
    stream.add(later)
    stream.emit((ev.NOTE, 2.0, "y"))
    stream.close()
    assert ([event[1] for event in first.got], [event[1] for event in later.got]) == ([1.0, 2.0], [2.0])
    assert later.closed


def test_the_stream_writes_without_being_asked():
    sink = Sink()
    stream = EventStream([sink])
    stream.emit((ev.NOTE, 1.0, "x"))
    wait_until(lambda: sink.got)
    stream.close()


def test_a_sink_that_fails_is_switched_off_and_others_go_on(caplog):
    bad, good = Sink(error=RuntimeError("broken")), Sink()
    stream = EventStream([bad, good])
    stream.emit((ev.NOTE, 1.0, "x"))
    wait_until(lambda: good.got)
    stream.emit((ev.NOTE, 2.0, "y"))
    stream.close()
    assert len(good.got) == 2
    assert caplog.text.count("switched off") == 1
