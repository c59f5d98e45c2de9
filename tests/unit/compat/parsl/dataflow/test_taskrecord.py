from __future__ import annotations

import pytest

from plait.compat import parsl
from plait.compat.parsl.config import Config
from plait.compat.parsl.dataflow.states import States

KEYS = {
    "dfk", "func_name", "status", "depends", "app_fu", "exec_fu", "executor", "fail_count", "fail_cost", "fail_history", "checkpoint",
    "hashsum", "func", "args", "kwargs", "time_invoked", "time_returned", "try_time_launched", "try_time_returned", "memoize",
    "ignore_for_cache", "from_memo", "id", "try_id", "resource_specification", "join", "joins",
}  # fmt: skip


def test_a_record_has_upstreams_keys():
    with parsl.load(Config(initialize_logging=False)) as kernel:
        future = parsl.python_app(int)("3")
        future.result()
        record = future.task_record
        assert set(record) >= KEYS
        assert len(list(record)) == len(record)
        assert record["status"] is States.exec_done
        assert (record["id"], record["func_name"], record["executor"], record["dfk"]) == (0, "int", "threads", kernel)
        with pytest.raises(KeyError):
            record["zork"]


def test_the_runs_own_executor_has_upstreams_label():
    with parsl.load(Config(initialize_logging=False)):
        future = parsl.join_app(list)()
        assert future.result() == []
        assert future.task_record["executor"] == "_parsl_internal"
        assert future.task_record["join"]


def test_defaults_of_keywords_that_the_run_reads_count_as_said():
    seen = []

    def choose(record, kind):
        seen.append((record["kwargs"]["label"], kind))
        return "chosen"

    @parsl.bash_app
    def say(stdout=parsl.AUTO_LOGNAME, label="mine"):
        return f"echo {stdout}"

    with parsl.load(Config(initialize_logging=False, std_autopath=choose)):
        assert say().result() == 0
    assert seen == [("mine", "stdout")]
    with open("chosen") as file:
        assert file.read() == "chosen\n"
