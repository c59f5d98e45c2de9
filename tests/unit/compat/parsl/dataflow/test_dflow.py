from __future__ import annotations

import io
import logging
import shutil
import subprocess
import sys
import threading
import uuid
from concurrent.futures import Future

import pytest

from plait.compat import parsl
from plait.compat.parsl.config import Config
from plait.compat.parsl.dataflow.states import States
from plait.compat.parsl.executors.threads import ThreadPoolExecutor
from plait.compat.parsl.logconfigs.base import LogConfig
from plait.errors import ConfigurationError, NoDataFlowKernelError


def quiet(**options):
    return Config(initialize_logging=False, **options)


def test_loading_gives_the_kernel_and_only_one_can_be_loaded():
    with parsl.load(quiet()) as kernel:
        assert parsl.dfk() is kernel
        with pytest.raises(ConfigurationError, match=r"^Config has already been loaded"):
            parsl.load()
    with pytest.raises(NoDataFlowKernelError, match=r"^Must first load config$"):
        parsl.dfk()


def test_only_upstreams_configuration_is_taken():
    with pytest.raises(ConfigurationError, match=r"parsl\.load\(3\)"):
        parsl.load(3)


def test_clear_forgets():
    kernel = parsl.load(quiet())
    parsl.clear()
    with parsl.load(quiet()) as other:
        assert parsl.dfk() is other
    kernel.cleanup()


def test_cleanup_twice_is_fine():
    kernel = parsl.load(quiet())
    kernel.cleanup()
    kernel.cleanup()
    assert kernel.cleanup_called


def test_what_can_be_read_of_a_kernel():
    config = quiet(dependency_resolver=None)
    with parsl.load(config) as kernel:
        assert kernel.config is config
        assert uuid.UUID(kernel.run_id)
        assert set(kernel.executors) == {"threads", "_parsl_internal"}
        assert kernel.executors["threads"] is config.executors[0]
        assert kernel.monitoring is None
        assert kernel.workflow_name
        assert (kernel.task_count, kernel.tasks) == (0, {})
        assert kernel.task_state_counts == dict.fromkeys(States, 0)
        kernel.log_task_states()


def test_counts_follow_the_tasks():
    go = threading.Event()
    with parsl.load(quiet(garbage_collect=False)) as kernel:
        future = parsl.python_app(go.wait)()
        assert kernel.tasks[0]["status"] in {States.pending, States.launched}
        go.set()
        parsl.wait_for_current_tasks()
        assert future.done()
        assert kernel.task_state_counts[States.exec_done] == 1
        assert kernel.tasks[0]["status"] is States.exec_done


def test_one_configuration_serves_several_runs_in_turn():
    config = quiet()
    for _ in range(3):
        with parsl.load(config) as kernel:
            assert parsl.python_app(int)("3").result() == 3
            assert kernel.executors["threads"] is config.executors[0]


def test_but_one_executor_serves_one_run_at_a_time():
    config = quiet()
    with parsl.load(config), pytest.raises(ConfigurationError, match="belongs to another run"):
        parsl.DataFlowKernel(config)


def test_a_kernel_is_made_of_a_configuration():
    with pytest.raises(ConfigurationError, match=r"DataFlowKernel\(3\): expected a parsl.Config"):
        parsl.DataFlowKernel(3)


def test_a_program_that_leaves_its_run_loaded_is_warned_in_the_log(tmp_path):
    code = "import plait.compat.parsl, parsl; parsl.load(); parsl.python_app(int)('3').result()"
    for end, warnings in (("", 1), ("; parsl.dfk().cleanup()", 0)):
        done = subprocess.run(
            [sys.executable, "-c", code + end], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        (log,) = tmp_path.glob("runinfo/*/parsl.log")
        assert log.read_text().count("WARNING: the program ends while this run is loaded") == warnings
        shutil.rmtree(tmp_path / "runinfo")


def test_executors_can_be_added():
    with parsl.load(quiet()) as kernel:
        kernel.add_executors([ThreadPoolExecutor(label="more", max_threads=1)])
        future = parsl.python_app(int, executors=["more"])("3")
        assert future.result() == 3
        assert future.task_record["executor"] == "more"
        assert set(kernel.executors) == {"threads", "more", "_parsl_internal"}


def test_the_internal_executor_can_be_named():
    with parsl.load(quiet()):
        assert parsl.python_app(int, executors=["_parsl_internal"])("3").result() == 3


def test_submit_takes_a_function_that_is_no_app():
    with parsl.load(quiet()) as kernel:
        assert kernel.submit(int, ["11"], "all", False, None, {"base": 2}).result() == 3
        assert kernel.submit(lambda: kernel.submit(int, ["4"]), [], join=True).result() == 4


def test_futures_are_described():
    with parsl.load(quiet()) as kernel:
        future = parsl.python_app(lambda outputs=(): None)(outputs=[parsl.File("made")])
        assert kernel.render_future_description(future) == "task 0"
        assert kernel.render_future_description(future.outputs[0]) == "made from task 0"
        foreign = Future()
        assert kernel.render_future_description(foreign) == repr(foreign)
        future.result()


# ------------------------------------------------------------------ refusals are outcomes
def test_a_wrong_label_is_the_futures_error():
    with parsl.load(quiet()):
        future = parsl.python_app(int, executors=["nope"])("3")
        assert isinstance(future.exception(), ValueError)
        assert "nope" in str(future.exception())
        assert future.task_status() == "failed"


def test_what_depends_on_a_refused_call_fails_with_it():
    with parsl.load(quiet(retries=2)):
        refused = parsl.python_app(int, executors=["nope"])("3")
        assert parsl.python_app(str)(refused).exception().dependent_exceptions_tids[0][0] is refused.exception()


# ------------------------------------------------------------------ the log
def test_the_log_of_a_run_is_in_its_folder():
    with parsl.load(Config(retries=3)) as kernel:
        logging.getLogger("parsl").info("a line of mine")
    with open(f"{kernel.run_dir}/parsl.log") as file:
        text = file.read()
    assert "a line of mine" in text
    assert "retries=3" in text
    assert f"run {kernel.run_id} ended" in text


def test_no_log_leaves_no_file(tmp_path):
    with parsl.load(quiet()):
        parsl.python_app(int)("3").result()
    assert list(tmp_path.iterdir()) == []


class Mine(LogConfig):
    def __init__(self):
        super().__init__()
        self.calls = []

    def initialize_logging(self, *, log_dir, log_name):
        self.calls.append((log_dir.name, log_name))
        return lambda: self.calls.append("end")


def test_a_log_of_ones_own():
    mine = Mine()
    with parsl.load(Config(initialize_logging=mine)) as kernel:
        assert mine.calls == [("000", "parsl")]
    assert mine.calls[-1] == "end"
    assert not any(name.endswith(".log") for name in __import__("os").listdir(kernel.run_dir))


def test_plaits_log_is_parsls_while_a_kernel_lives():
    stream = io.StringIO()
    log = logging.getLogger("plait")
    before = (log.propagate, log.level, list(log.handlers))
    detach = parsl.set_stream_logger(stream=stream, format_string="%(name)s %(message)s")
    with parsl.load(quiet()), parsl.DataFlowKernel(quiet()) as other:
        log.info("inside")
    detach()
    assert other.cleanup_called
    assert "parsl inside\n" in stream.getvalue()
    assert stream.getvalue().count("inside") == 1
    assert (log.propagate, log.level, log.handlers) == before


def test_the_level_of_parsls_logger_decides(caplog):
    caplog.set_level(logging.ERROR, "parsl")
    with parsl.load(quiet()):
        logging.getLogger("plait").info("too little")
    assert "too little" not in caplog.text
