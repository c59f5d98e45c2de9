"""What can be asked of a pilot-job executor, and what it can be told."""

from __future__ import annotations

import contextlib

import pytest

import plait
from plait.errors import InvalidResourceSpecification
from plait.executors import HighThroughputExecutor
from plait.executors.htex.inspection import _reason
from plait.model.resources import Resources
from plait.providers import LocalProvider
from plait.testing import tasks
from tests.support import wait_until
from tests.unit.executors.htex.helpers import Remote, executor, load, log, make_task

echo = plait.python_app(tasks.echo)


def test_looking_at_it():
    made = executor("silent")
    with load(made):
        future = echo(1)
        wait_until(lambda: made.status().running == 1)
        assert (made.status().workers, made.status().queued, made.outstanding) == (2, 0, 1)
        assert list(made.tasks) == [0]
        assert made.connected_managers() == [{"what": "managers"}]
        assert made.connected_blocks() == ["0"]
        assert made.workers_per_node == 2
        assert "is with manager m1 on fakehost (block 0) of executor 'htex'" in future.explain()
        assert not made.bad_state_is_set
        assert made.executor_exception is None


def test_looking_at_one_whose_interchange_does_not_answer(monkeypatch):
    monkeypatch.setattr("plait.executors.htex.inspection._ANSWER_S", 0.01)
    made = executor("silent", "mute")
    with load(made):
        wait_until(lambda: made.status().workers)
        (manager,) = made.connected_managers()
        assert (manager["manager"], manager["block_id"], manager["worker_count"]) == ("m1", "0", 2)


def test_why_a_task_waits():
    made = executor("silent", "unplaced")
    with load(made):
        future = echo(1)
        wait_until(lambda: made._keeper is not None and made.status().workers)
        text = future.explain()
        assert "waits in executor 'htex': 0 tasks are with its 1 node (2 workers) and 1 wait" in text
        made._link.hearing.managers.clear()
        assert "no node is up yet; " in future.explain()


def test_why_tasks_of_a_kind_wait():
    """In the interchange's words."""
    big = make_task(3, cores=2.0, labels=("lab",))
    lane = {"asks": "2 cores", "label": "lab", "priority": None, "tasks": 3, "why": "none of 1 managers has 2 cores"}
    assert _reason(big, {"waiting": [{**lane, "label": "other"}, lane]}) == (
        "it asks for 2 cores, like 2 others: none of 1 managers has 2 cores"
    )
    assert _reason(big, {"waiting": []}) == ""
    assert _reason(big, None) == ""
    assert _reason(make_task(3), {"mean_s": 0.25}) == "tasks took 250 ms lately"
    assert _reason(make_task(3), {"mean_s": 0.0}) == ""


def test_how_many_workers_a_node_will_have():
    def expected(**options):
        return executor(**options).workers_per_node

    assert expected(max_workers_per_node=3, provider=Remote()) == 3
    assert expected(provider=Remote()) is None
    assert expected(provider=Remote(cores_per_node=8), cores_per_worker=2) == 4
    assert expected(provider=Remote(cores_per_node=8, mem_per_node=10), mem_per_worker=3) == 3
    assert expected(provider=Remote(cores_per_node=8), available_accelerators=2) == 2
    assert expected(max_workers_per_node=1) == 1


def test_what_no_block_can_ever_give_is_refused_at_the_call():
    app = echo.options
    with load(executor(provider=Remote(cores_per_node=4, mem_per_node=8))):
        with pytest.raises(InvalidResourceSpecification, match="5 cores asked, executor 'htex' has 4"):
            app(cores=5)(1)
        with pytest.raises(InvalidResourceSpecification, match=r"9.0 GB of memory asked"):
            app(memory="9GB")(1)
    with load(executor(provider=Remote(max_blocks=1))) as kernel:
        made = kernel.config.executors[0]
        wait_until(lambda: made.status().workers)
        with pytest.raises(InvalidResourceSpecification, match=r"3 cores asked.*has 2"):
            app(cores=3)(1)
        with pytest.raises(InvalidResourceSpecification, match="1 GPUs asked"):
            app(gpus=1)(1)
        with pytest.raises(InvalidResourceSpecification, match=r"2.2 TB of disk asked, executor 'htex' has 1.1 TB"):
            app(disk="2.2TB")(1)
    with load(executor("silent", provider=Remote(max_blocks=9))):
        app(cores=5000, gpus=10)(1)  # nobody knows better


@pytest.mark.parametrize("wants", [{"cores": 5000}, {"gpus": 10}, {"memory": "1000TB"}, {"disk": "1000TB"}], ids=str)
def test_on_this_machine_that_is_known_before_a_node_is_up(wants):
    with load(executor()), pytest.raises(InvalidResourceSpecification, match=r"asked, executor 'htex' has"):
        echo.options(**wants)(1)


def test_what_its_environment_says_of_this_machine_counts(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("PARSL_CORES", "64")
    made = executor("silent")
    with load(made):
        made.check(Resources(gpus=2, cores=64))
        with pytest.raises(InvalidResourceSpecification, match="65 cores asked, executor 'htex' has 64; 3 GPUs asked"):
            made.check(Resources(gpus=3, cores=65))


def test_what_was_taken_before_the_nodes_were_known_is_refused_when_they_are():
    with load(executor("silent", "unplaced", provider=LocalProvider(init_blocks=0, worker_init="export PLAIT_GPUS="))):
        future = echo.options(gpus=1)(1)
        with pytest.raises(InvalidResourceSpecification, match="1 GPUs asked, executor 'htex' has 0"):
            future.result(20)


def test_what_takes_longer_than_a_block_lasts_is_refused_at_the_call():
    with load(executor(provider=Remote(walltime="00:10:00"))):
        for seconds, kind in [(590, None), (597, InvalidResourceSpecification), ("1h", InvalidResourceSpecification)]:
            with (
                pytest.raises(kind, match="blocks of executor 'htex' end 10m00s") if kind else contextlib.nullcontext()
            ):
                echo.options(walltime=seconds)(1)


@pytest.mark.parametrize("name", [0, None, "\udc80"])
@pytest.mark.parametrize("method", ["hold_manager", "hold_block", "release", "drain"])
def test_a_name_that_is_none_is_refused_before_it_is_sent(method, name):
    with pytest.raises(ValueError, match=f"{method}.*: expected text"):
        getattr(HighThroughputExecutor("htex"), method)(name)


def test_commands():
    made = executor()
    with load(made):
        echo(1).result(20)
        made.hold_manager("m1")
        made.hold_worker("m1")
        made.hold_block("0")
        made.release("m1")
        made.drain("0")
        wait_until(lambda: log()[-5:] == ["Hold m1 True", "Hold m1 True", "Hold 0 True", "Hold m1 False", "DrainBlock"])
