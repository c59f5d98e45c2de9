from __future__ import annotations

import os
import subprocess
import threading
import time

import pytest

from plait.compat.parsl import utils
from plait.compat.parsl.version import VERSION
from plait.errors import BadStdStreamFile
from tests.support import wait_until


def test_the_version_is_one_and_can_be_compared():
    assert utils.get_version() == VERSION
    assert int(VERSION.split(".")[0]) >= 2026


# ------------------------------------------------------------------ checkpoints
def test_checkpoints_are_in_the_order_of_numbers_not_of_names(tmp_path):
    for number in ("998", "999", "1000"):
        (tmp_path / number / "checkpoint").mkdir(parents=True)
    (tmp_path / "997").mkdir()
    (tmp_path / "notes1").mkdir()
    found = utils.get_all_checkpoints(str(tmp_path))
    assert [path.split(os.sep)[-2] for path in found] == ["998", "999", "1000"]
    assert utils.get_last_checkpoint(str(tmp_path)) == [str(tmp_path / "1000" / "checkpoint")]


def test_the_last_run_may_have_no_checkpoint(tmp_path):
    (tmp_path / "000" / "checkpoint").mkdir(parents=True)
    (tmp_path / "001").mkdir()
    assert utils.get_last_checkpoint(str(tmp_path)) == []


def test_no_runs_have_no_checkpoints():
    assert utils.get_all_checkpoints("nowhere") == []
    assert utils.get_last_checkpoint("nowhere") == []


# ------------------------------------------------------------------ commands, files, times
def test_execute_wait_gives_code_output_and_errors():
    assert utils.execute_wait("echo a; echo b >&2; exit 3") == (3, "a\n", "b\n")


def test_execute_wait_ends_what_takes_too_long():
    with pytest.raises(subprocess.TimeoutExpired):
        utils.execute_wait("sleep 60 & sleep 60", walltime=0.1)


def test_streams():
    assert utils.get_std_fname_mode("stdout", "a") == ("a", "a+")
    assert utils.get_std_fname_mode("stdout", ("a", "w")) == ("a", "w")
    with pytest.raises(BadStdStreamFile):
        utils.get_std_fname_mode("stdout", ("a", "w", "x"))


@pytest.mark.parametrize(("text", "minutes"), [("01:30:30", 90), ("00:00:59", 0), ("100:00:00", 6000)])
def test_minutes(text, minutes):
    assert utils.wtime_to_minutes(text) == minutes


def test_a_file_may_come_to_be_while_it_is_waited_for(tmp_path):
    path = tmp_path / "late"
    timer = threading.Timer(0.02, lambda: path.write_text("here"))
    timer.start()
    with utils.time_limited_open(str(path), "r", seconds=10) as file:
        wait_until(lambda: path.read_text() == "here")
        assert file.name == str(path)
    timer.join()


def test_waiting_for_a_file_ends():
    with utils.wait_for_file("nowhere", seconds=0.01):
        assert not os.path.exists("nowhere")
    with pytest.raises(FileNotFoundError), utils.time_limited_open("nowhere", "r", seconds=0.01):
        pass


@pytest.mark.parametrize(
    ("raw", "label"), [("Parsl.Block_1", "parsl-block-1"), ("-ab-", "ab"), ("A" * 70, "a" * 63), ("a__b", "a-b")]
)
def test_labels(raw, label):
    assert utils.sanitize_dns_label_rfc1123(raw) == label


@pytest.mark.parametrize(("raw", "name"), [("Parsl.Block_1", "parsl.block-1"), ("..a..b-", "a.b")])
def test_subdomains(raw, name):
    assert utils.sanitize_dns_subdomain_rfc1123(raw) == name


def test_nothing_is_no_label():
    for make in (utils.sanitize_dns_label_rfc1123, utils.sanitize_dns_subdomain_rfc1123):
        with pytest.raises(ValueError, match="nothing is left"):
            make("--")


def test_naming_the_process_is_optional():
    utils.setproctitle("pytest of plait")


# ------------------------------------------------------------------ classes
def test_ids_are_given_once():
    counter = utils.AtomicIDCounter()
    assert [counter.get_id() for _ in range(3)] == [0, 1, 2]


class Shown(utils.RepresentationMixin):
    def __init__(self, a, b, c=3, *rest, **more):
        self.a, self.b, self.c = a, b, c


class Forgetful(utils.RepresentationMixin):
    def __init__(self, a, b):
        self.a = a


def test_a_representation_shows_the_constructor():
    assert repr(Shown(1, "x")) == "Shown(1, 'x', c=3)"
    assert repr(Forgetful(1, 2)) == "Forgetful(1, '<unrecorded>')"
    assert repr(Shown([1], Shown(1, 2), "x" * 70)) == f"Shown(\n    [1],\n    Shown(1, 2, c=3),\n    c='{'x' * 70}'\n)"


def test_a_timer_calls_at_once_and_again_and_survives_errors():
    calls = []

    def callback(*args):
        calls.append(args)
        raise ValueError(args)

    timer = utils.Timer(callback, 1, 2, interval=0.001, name="tick")
    wait_until(lambda: len(calls) >= 3)
    timer.close(5)
    assert set(calls) == {(1, 2)}


def test_a_timer_of_a_block_is_cancelled_at_its_end():
    struck = []
    with utils.AutoCancelTimer(60, lambda: struck.append(time.monotonic())) as timer:
        assert timer.is_alive()
    timer.join()
    assert struck == []
