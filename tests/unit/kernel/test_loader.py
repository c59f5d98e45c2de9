"""Load, look up, forget: which kernel an app's call goes to."""

from __future__ import annotations

import threading

import pytest

import plait
from plait.errors import ConfigurationError, NoDataFlowKernelError
from plait.kernel import loader
from plait.kernel.loader import DataFlowKernelLoader, current_kernel
from tests.support import held_by_another_thread, in_forked_child


class config(plait.Config):  # noqa: N801 - stands for a call
    def __init__(self):
        super().__init__([plait.ThreadPoolExecutor()], initialize_logging=False, progress=False)


@pytest.fixture(autouse=True)
def _nothing_stays_loaded():
    assert current_kernel() is None
    yield
    kernel = current_kernel()
    if kernel is not None:
        kernel.cleanup()


@pytest.fixture
def light(monkeypatch):
    """The default that is loaded by itself, as threads: no process has to start."""
    monkeypatch.setattr("plait.kernel.loader.Config", config)


app = plait.python_app(lambda x: x + 1)


def test_load_and_dfk():
    with plait.load(config()) as kernel:
        assert plait.dfk() is kernel is current_kernel()
    assert current_kernel() is None


def test_nothing_loaded():
    for look in (plait.dfk, plait.wait_for_current_tasks):
        with pytest.raises(NoDataFlowKernelError, match="Must first load config"):
            look()


@pytest.mark.parametrize("value", ["threads", plait.Config, [plait.ThreadPoolExecutor()]])
def test_only_a_configuration_can_be_loaded(value):
    with pytest.raises(
        ConfigurationError,
        match=r"expected a plait\.Config, the path of a configuration file, or nothing|cannot be read",
    ):
        plait.load(value)


def test_a_second_load_is_refused_and_the_first_goes_on():
    with plait.load(config()):
        with pytest.raises(ConfigurationError, match="Config has already been loaded: end that run"):
            plait.load(config())
        assert app(1).result() == 2


def test_clear_forgets_without_ending():
    kernel = plait.load(config())
    plait.clear()
    assert current_kernel() is None
    assert not kernel.cleanup_called
    with plait.load(config()) as other:
        assert plait.dfk() is other
        kernel.cleanup()  # does not touch the other
        assert plait.dfk() is other


@pytest.mark.slow
def test_an_app_that_is_called_with_nothing_loaded_loads_the_default(monkeypatch):
    monkeypatch.chdir(".")
    assert app(1).result(30) == 2
    assert "processes" in plait.dfk().executors


@pytest.mark.usefixtures("light")
def test_a_default_that_was_loaded_by_itself_is_replaced_while_it_is_idle():
    assert app(1).result() == 2
    automatic = plait.dfk()
    with plait.load(config()) as kernel:
        assert automatic.cleanup_called
        assert plait.dfk() is kernel


@pytest.mark.usefixtures("light")
def test_a_default_that_was_loaded_by_itself_is_not_replaced_while_it_works():
    go = threading.Event()
    future = plait.python_app(go.wait)(20)
    with pytest.raises(ConfigurationError, match="loaded by the first call of an app, and has unfinished tasks"):
        plait.load(config())
    go.set()
    assert future.result(10)


@pytest.mark.usefixtures("light")
def test_many_first_calls_at_one_moment_load_one_kernel():
    kernels, barrier = set(), threading.Barrier(8)

    def call():
        barrier.wait()
        future = app(1)
        kernels.add(future._task.owner)
        future.result()

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kernels) == 1


def test_it_can_be_forbidden(monkeypatch):
    monkeypatch.setattr(DataFlowKernelLoader, "auto_load", False)
    with pytest.raises(NoDataFlowKernelError, match="Must first load config"):
        app(1)


def test_in_a_worker_nothing_is_loaded(monkeypatch):
    monkeypatch.setenv("PLAIT_WORKER", "1")
    with pytest.raises(NoDataFlowKernelError, match="inside a task that runs in a worker process"):
        app(1)


def test_another_process_has_none(monkeypatch):
    kernel = plait.load(config())
    try:
        monkeypatch.setattr("os.getpid", lambda: -1)
        assert current_kernel() is None
        monkeypatch.undo()
    finally:
        kernel.cleanup()


FILE = """
initialize_logging = false
progress = false
[[executors]]
type = "ThreadPoolExecutor"
label = "from a file"
"""


def test_a_path_is_the_configuration_in_that_file(tmp_path):
    path = tmp_path / "plait.toml"
    path.write_text(FILE)
    for given in (path, str(path)):
        with plait.load(given) as kernel:
            assert [executor.label for executor in kernel.config.executors] == ["from a file"]
    with pytest.raises(ConfigurationError, match="nowhere.toml: this file cannot be read"):
        plait.load(tmp_path / "nowhere.toml")


def test_a_default_stands_in_where_a_program_says_nothing(monkeypatch):
    monkeypatch.setattr(DataFlowKernelLoader, "default", staticmethod(lambda: plait.Config.from_toml(FILE)))
    with plait.load() as kernel:
        assert kernel.config.executors[0].label == "from a file"
    assert app(1).result() == 2
    assert plait.dfk().config.executors[0].label == "from a file"
    plait.dfk().cleanup()
    monkeypatch.setattr(DataFlowKernelLoader, "only_default", "the file counts")
    with pytest.raises(ConfigurationError, match="the file counts"):
        plait.load(config())
    with plait.load():
        pass


def test_a_child_that_is_forked_while_another_thread_loads_can_load_too():
    with held_by_another_thread(loader._lock):
        assert in_forked_child(plait.clear) == 0
