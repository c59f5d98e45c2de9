from __future__ import annotations

import json

from plait.compat import parsl
from plait.compat.parsl.config import Config
from plait.compat.parsl.logconfigs.file import FileLogging
from plait.compat.parsl.logconfigs.json import JSONLogging


@parsl.python_app
def halve(x):
    return x / 2


@parsl.python_app
def fail():
    raise ValueError("boo")


@parsl.join_app
def joined():
    return halve(1)


def run(log):
    with parsl.load(Config(initialize_logging=log, retries=1)) as kernel:
        halve(fail()).exception()
        joined().result()
        return kernel


def lines(kernel):
    with open(f"{kernel.run_dir}/parsl.jsonlog") as file:
        return [line for line in map(json.loads, file) if "parsl.task" in line]


def test_a_log_that_was_asked_for_tells_each_state_of_each_task():
    kernel = run(JSONLogging())
    seen: dict[int, list[str]] = {}
    for line in lines(kernel):
        assert (line["parsl.dfk"], line["levelname"], line["name"]) == (kernel.run_id, "DEBUG", "parsl")
        seen.setdefault(line["parsl.task"], []).append(line["parsl.task_state"])
    assert seen == {
        0: ["pending", "launched", "fail_retryable", "launched", "failed"],
        1: ["pending", "dep_fail"],
        2: ["pending", "launched", "joining", "exec_done"],
        3: ["pending", "launched", "exec_done"],
    }
    submitted, launched, *_ = [line for line in lines(kernel) if line["parsl.task"] == 2]
    assert submitted["parsl.app_name"] == "joined"
    assert (launched["parsl.try"], launched["parsl.executor"]) == (0, "_parsl_internal")
    assert "task 0 (fail): failed, ValueError: boo" in [line["formatted"] for line in lines(kernel)]


def test_at_info_and_by_default_it_costs_nothing():
    assert lines(run(JSONLogging(level=20))) == []
    kernel = run(True)
    with open(f"{kernel.run_dir}/parsl.log") as file:
        assert "task 0" not in file.read()


def test_lines_of_text():
    kernel = run(FileLogging())
    with open(f"{kernel.run_dir}/parsl.log") as file:
        assert "DEBUG: task 3 (halve): exec_done\n" in file.read()
