from __future__ import annotations

import json

import pytest

from plait.cli import bench as module
from plait.cli.bench import Iteration, Order, bench
from plait.errors import ConfigurationError

THREADS = "import plait\n{} plait.Config(executors=[plait.ThreadPoolExecutor(max_threads=2)], initialize_logging=False, progress=True)\n"


def config_file(folder, text):
    path = folder / "conf.py"
    path.write_text(text)
    return str(path)


class Machine:
    """One that does so many tasks in a second, after some time for starting."""

    def __init__(self, rate, start_s=0.5):
        self.rate, self.start_s, self.asked = rate, start_s, []

    def __call__(self, tasks):
        took = tasks / self.rate + (0 if self.asked else self.start_s)
        self.asked.append(tasks)
        return Iteration(tasks, took / 2, took, tasks / took)


def test_estimate_begins_with_ten_and_ends_near_the_time():
    machine = Machine(1000.0)
    done = list(module._iterate([], 10.0, machine, exponential=False))
    assert machine.asked[0] == 10
    assert done[-1].run_s >= 7.5
    assert all(i.run_s < 7.5 for i in done[1:-1])
    assert len(done) <= 4


def test_estimate_measures_twice_even_when_the_first_is_slow():
    assert len(list(module._iterate([], 10.0, Machine(0.5), exponential=False))) == 2


def test_exponential_doubles():
    machine = Machine(100.0, 0.0)
    list(module._iterate([], 1.0, machine, exponential=True))
    assert machine.asked == [10, 20, 40, 80]


def test_given_numbers():
    machine = Machine(100.0)
    assert [i.tasks for i in module._iterate([3, 1], 1e9, machine, exponential=False)] == [3, 1]


@pytest.mark.parametrize("line", ["config =", "def fresh_config(): return"])
def test_a_configuration_from_a_file(tmp_path, capsys, line):
    path = config_file(tmp_path, THREADS.format(line))
    assert bench(Order(config=path, iterate="3,5", argsize=10, resources="{'cores': 1}"), as_json=True) == 0
    data = json.loads(capsys.readouterr().out)
    assert [i["tasks"] for i in data["iterations"]] == [3, 5]
    assert all(i["tasks_per_s"] > 0 and 0 <= i["submit_s"] <= i["run_s"] for i in data["iterations"])
    assert "ThreadPoolExecutor" in data["executors"]


def test_a_configuration_written_for_parsl(tmp_path, capsys):
    text = """
from parsl.config import Config
from parsl.executors import ThreadPoolExecutor

config = Config(executors=[ThreadPoolExecutor(max_threads=2)])
"""
    assert bench(Order(config=config_file(tmp_path, text), iterate="3"), as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["iterations"][0]["tasks"] == 3


@pytest.mark.parametrize(("name", "value"), [("time", float("inf")), ("time", float("nan")), ("argsize", 10**30)])
def test_amounts_that_cannot_be_are_named(tmp_path, name, value):
    order = Order(config=config_file(tmp_path, THREADS.format("config =")), **{name: value})
    with pytest.raises(ConfigurationError, match=f"^--{name} "):
        bench(order, as_json=True)


def test_for_people(tmp_path, capsys):
    path = config_file(tmp_path, THREADS.format("config ="))
    assert bench(Order(config=path, time=0.01), as_json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("plait ")
    assert "10 tasks: submitted in" in lines[1]
    assert lines[-1].endswith("tasks per second")


def test_what_cannot_be_given_is_said_with_the_numbers(tmp_path, capsys):
    path = config_file(tmp_path, THREADS.format("config ="))
    assert bench(Order(config=path, iterate="1", resources="{'cores': 99999}"), as_json=False) == 1
    err = capsys.readouterr().err
    assert "99999" in err
    assert "plait/cli" not in err


@pytest.mark.parametrize(
    ("order", "says"),
    [
        (Order(resources="open('x')"), "--resources"),
        (Order(resources="[1]"), "expected a dictionary"),
        (Order(iterate="many"), "--iterate 'many'"),
        (Order(iterate="0"), "--iterate '0'"),
        (Order(config="nowhere.py"), "no such file"),
    ],
)
def test_wrong_input(order, says):
    with pytest.raises(ConfigurationError, match=says):
        bench(order, as_json=False)


@pytest.mark.parametrize(
    ("text", "says"),
    [("x = 1", "expected a variable `config`"), ("config = 5", "expected a variable"), ("1/0", "ZeroDivisionError")],
)
def test_wrong_configuration_files(tmp_path, text, says):
    with pytest.raises(ConfigurationError, match=says):
        bench(Order(config=config_file(tmp_path, text)), as_json=False)
