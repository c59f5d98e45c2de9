"""`plait init` and `plait check` with a real Slurm, and `init` with a real Grid Engine: what they say of it, a try that works and tries that cannot."""

from __future__ import annotations

import json
import sys

import pytest

import plait
from plait.cli.check import check
from plait.cli.init import Order, init
from plait.sites.machine import find_schedulers, run, user
from plait.sites.queues import find_accounts, find_queues
from tests.support import wait_until


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def nothing_left(slurm):
    """Whether no job is in the queue; one that is completing has ended."""
    return not {state for state in slurm.queue().values() if state != "COMPLETING"}


def look(file="plait.toml", **keywords):
    return check(file, **{"submit": False, "timeout_s": 60.0, "as_json": True, **keywords})


def test_the_partitions_of_slurm(slurm):
    assert "slurm" in [scheduler.system for scheduler in find_schedulers()]
    queues = {queue.name: queue for queue in find_queues("slurm", run)}
    assert set(queues) == {"debug", "short", "scavenge", "urgent"}
    assert [name for name, queue in queues.items() if queue.default] == ["debug"]
    assert (queues["debug"].nodes, queues["short"].nodes, queues["debug"].cores) == (4, 2, 4)


def test_what_init_wrote_is_submitted_and_runs(slurm, here, capsys):
    values = ("partition=short", "max_workers_per_node=1", "exclusive=false", 'worker_init=""')
    assert init(Order(scheduler="slurm", values=values), as_json=False) == 0
    assert "debug: walltime" in capsys.readouterr().out
    provider = plait.Config.from_toml(here / "plait.toml").executors[0].provider
    assert provider.partition == "short"
    assert look(submit=True) == 0
    data = json.loads(capsys.readouterr().out)
    (trial,) = data["trials"]
    assert trial["worked"], trial
    assert trial["node"]["host"] in {"node1", "node2"}
    assert trial["node"]["environment"]["SLURM_JOB_PARTITION"] == "short"
    says = [each["text"] for each in data["findings"] if each["text"].startswith("Slurm says")]
    assert len(says) == 1
    assert "to start at" in says[0]
    wait_until(lambda: nothing_left(slurm))


@pytest.mark.parametrize(
    ("values", "about", "text"),
    [
        (("partition=nowhere",), "slurm.provider.partition", "'nowhere' is not there"),
        (("partition=short", "nodes_per_block=3"), "slurm.provider.nodes_per_block", "3 is more than short has, which is 2"),
        (("constraint=gpu",), "slurm.provider", "Slurm says: allocation failure"),
    ],
)  # fmt: skip
def test_what_slurm_would_refuse_is_not_submitted(slurm, here, capsys, values, about, text):
    init(Order(scheduler="slurm", values=values), as_json=False)
    capsys.readouterr()
    before = slurm.names()
    assert look(submit=True) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["trials"] is None
    problems = [each for each in data["findings"] if each["level"] == "problem"]
    assert any(each["about"] == about and text in each["text"] for each in problems), problems
    assert set(slurm.names()) <= set(before)  # Slurm forgets old ones


def test_a_block_that_does_not_come_in_time_is_cancelled_and_said(slurm, here, capsys):
    init(Order(scheduler="slurm", values=("scheduler_options=#SBATCH --hold",)), as_json=False)
    capsys.readouterr()
    assert look(submit=True, timeout_s=2.0) == 1
    (trial,) = json.loads(capsys.readouterr().out)["trials"]
    assert not trial["worked"]
    assert "it had not run" in trial["text"]
    wait_until(lambda: nothing_left(slurm))


def test_the_queues_of_grid_engine(sge, here):
    assert "gridengine" in [scheduler.system for scheduler in find_schedulers()]
    queues = find_queues("gridengine", run)
    assert queues
    assert all(queue.name for queue in queues)
    init(Order(scheduler="gridengine"), as_json=False)
    provider = plait.Config.from_toml(here / "plait.toml").executors[0].provider
    assert provider.queue in {queue.name for queue in queues}


def test_accounts_of_slurm(slurm_accounting, here):
    assert "root" in find_accounts("slurm", user(), run)  # the tests' user, whom every database of Slurm has
    assert find_accounts("slurm", "nobody-of-this-name", run) == []
