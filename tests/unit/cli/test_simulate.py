from __future__ import annotations

import json

import pytest

from plait.cli.simulate import Order, _ask, machine_of, simulate
from plait.errors import ConfigurationError
from plait.model import events as ev
from plait.monitoring.journal import Journal
from plait.monitoring.runs import RunNotFound


@pytest.fixture
def work(tmp_path):
    path = tmp_path / "work.json"
    path.write_text(json.dumps({"name": "w", "bag": {"a": {"tasks": 20, "duration": 10}}}))
    return str(path)


@pytest.fixture
def recorded(tmp_path):
    folder = tmp_path / "runinfo" / "007"
    folder.mkdir(parents=True)
    journal = Journal(str(folder))
    journal.write([ev.TaskSubmitted(1.0, 0, "fit"), ev.TaskSubmitted(2.0, 1, "sum", [0])])
    journal.write([ev.TaskEnded(9.0, n, 3, 1, 4.0, 9.0, 0) for n in (0, 1)])
    journal.close()
    return str(tmp_path / "runinfo")


def test_the_answer_as_text_and_the_chart(work, tmp_path, capsys):
    chart = tmp_path / "c.html"
    assert simulate(Order(work, nodes=2, workers=5, policy="pack", chart=str(chart)), as_json=False) == 0
    out = capsys.readouterr().out
    assert out.startswith("w: 20 tasks on 2 nodes × 5 workers, policy pack, seed 0")
    assert "makespan" in out
    assert f"chart in {chart}" in out
    assert chart.read_text(encoding="utf-8").startswith("<!DOCTYPE")


def test_the_answer_as_data(work, capsys):
    assert simulate(Order(work, workers=10, seed=3), as_json=True) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["done"], data["workers"], data["seed"]) == (20, 10, 3)
    assert 20 < data["makespan_s"] < 22


def test_recorded_runs(recorded, capsys):
    for which in ("last", "7", f"{recorded}/007", f"{recorded}/007/journal.plj"):
        order = Order(which, run_dir=recorded, workers=8, copies=4, asks=("fit:cores=2",))
        assert simulate(order, as_json=True) == 0
        data = json.loads(capsys.readouterr().out)
        assert (data["done"], [kind["name"] for kind in data["kinds"]]) == (8, ["fit", "sum"])
        assert 10 < data["makespan_s"] < 12
    with pytest.raises(RunNotFound):
        simulate(Order("9", run_dir=recorded), as_json=True)


def test_a_run_that_cannot_end_is_a_failure(tmp_path, capsys):
    path = tmp_path / "work.json"
    path.write_text(json.dumps({"bag": {"a": {"tasks": 2, "duration": 10, "gpus": 1}}}))
    assert simulate(Order(str(path)), as_json=False) == 1
    assert "1 GPU" in capsys.readouterr().out


def test_the_machine():
    machine = machine_of(
        Order(
            "w",
            nodes=8,
            workers=2,
            memory="4GB",
            gpus=1,
            nodes_per_block=2,
            latency="50us",
            bandwidth="100MB/s",
            queue_wait="exponential:10m",
            walltime="1h",
        )
    )
    assert (machine.memory_bytes, machine.latency_s, machine.bandwidth_bytes_s) == (4 * 10**9, pytest.approx(5e-5), 1e8)
    assert (machine.queue_wait.mean, machine.walltime_s, machine.max_blocks) == (600.0, 3600.0, 4)
    assert machine_of(Order("w", latency="2ms")).latency_s == pytest.approx(2e-3)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"chart": "c.png"}, "--chart c.png"),
        ({"chart": "nowhere/c.svg"}, "--chart nowhere/c.svg"),
        ({"memory": "much"}, "--memory='much'"),
        ({"walltime": "long"}, "--walltime='long'"),
        ({"latency": "x"}, "--latency='x'"),
        ({"queue_wait": "some"}, "--queue-wait='some'"),
        ({"policy": "wild"}, "policy 'wild'"),
        ({"strategy": "wild"}, "strategy='wild'"),
        ({"copies": 2}, "--copies"),
        ({"asks": ("a:cores=2",)}, "--ask"),
    ],
)
def test_what_cannot_be_done_is_named(work, wrong, says):
    with pytest.raises(ConfigurationError, match=says):
        simulate(Order(work, **wrong), as_json=True)


def test_asks():
    assert _ask("fit: cores=4, gpus=1") == ("fit", {"cores": "4", "gpus": "1"})
    for text in ("fit", "fit:", "fit:cores", "fit:colour=1"):
        with pytest.raises(ConfigurationError, match="--ask"):
            _ask(text)
