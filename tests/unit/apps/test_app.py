"""Apps as users write them: reserved keywords, files, streams, lifting, joins, options, cache."""

from __future__ import annotations

import functools
import operator
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import plait
from plait.errors import (
    AppTimeout,
    BashExitFailure,
    ConfigurationError,
    DependencyError,
    InvalidResourceSpecification,
    JoinError,
    MissingOutputs,
    NoDataFlowKernelError,
)
from tests.support import wait_until


@pytest.fixture
def threads():
    config = plait.Config([plait.ThreadPoolExecutor(max_threads=4)], initialize_logging=False, progress=False)
    with plait.load(config) as kernel:
        yield kernel


@pytest.fixture
def processes():
    config = plait.Config([plait.ProcessPoolExecutor(max_workers=1)], initialize_logging=False, progress=False)
    with plait.load(config) as kernel:
        yield kernel


def double(x):
    return 2 * x


# ------------------------------------------------------------------ what can be an app
class Scale:
    def __init__(self, factor):
        self.factor = factor

    @plait.python_app
    def apply(self, x):
        """Multiplies."""
        return self.factor * x

    def plain(self, x):
        return self.factor * x

    def __call__(self, x):
        return self.factor * x


CALLABLES = [
    pytest.param(double, id="function"),
    pytest.param(lambda x: x + x, id="lambda"),
    pytest.param(functools.partial(operator.mul, 2), id="partial"),
    pytest.param(Scale(2).plain, id="bound method"),
    pytest.param(Scale(2), id="callable object"),
    pytest.param(functools.cache(double), id="cached function"),
]


@pytest.mark.parametrize("function", CALLABLES)
def test_callables_of_any_kind_are_apps(threads, function):
    assert plait.python_app(function)(4).result() == 8


@pytest.mark.slow
def test_callables_of_any_kind_are_apps_of_processes(processes):
    apps = [plait.python_app(case.values[0]) for case in CALLABLES if case.id != "cached function"]
    assert [app(4).result() for app in apps] == [8] * len(apps)


def test_a_builtin_without_signature_is_an_app(threads):
    assert plait.python_app(max)(3, 5).result() == 5


def test_a_parameter_may_be_called_self(threads):
    assert plait.python_app(lambda self, other: self + other)(self=1, other=2).result() == 3


def test_a_method_is_an_app(threads):
    assert Scale(3).apply(5).result() == 15
    assert Scale.apply(Scale(4), 5).result() == 20
    assert isinstance(Scale.apply, plait.App)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"data_flow_kernel": 3}, "data_flow_kernel=3: expected what plait.load"),
        ({"ignore_for_cache": "log"}, "double: ignore_for_cache='log': expected a list of names"),
        ({"ignore_for_cache": 3}, "double: ignore_for_cache=3: expected a list of names"),
    ],
)
def test_options_that_cannot_work_are_named(options, says):
    with pytest.raises(ConfigurationError, match=says):
        plait.python_app(**options)(double)


def test_an_app_looks_like_its_function():
    app = plait.python_app(double)
    assert (app.__name__, app.__wrapped__, app.func) == ("double", double, double)
    assert Scale.apply.__doc__ == "Multiplies."
    assert repr(app) == f"<python_app {__name__}.double>"
    assert "mul" in repr(plait.python_app(functools.partial(operator.mul, 2)))


async def coroutine():
    pass


def generator():
    yield


async def async_generator():
    yield


@pytest.mark.parametrize("function", [coroutine, generator, async_generator, 3, "text"])
@pytest.mark.parametrize("decorator", [plait.python_app, plait.bash_app, plait.join_app])
def test_what_cannot_be_an_app_is_refused_where_it_is_written(decorator, function):
    with pytest.raises(ConfigurationError, match=r"_app: "):
        decorator(function)


PROGRAM = """
import math, plait
FACTOR = 3
def helper(x): return math.sqrt(x) * FACTOR
class Point:
    def __init__(self, x): self.x = x
    def __eq__(self, other): return self.x == other.x
@plait.python_app
def use(x): return helper(x)
@plait.python_app
def move(p): return Point(p.x + 1)
exec("@plait.python_app\\ndef made(x): return helper(x) + 1")
with plait.load(plait.Config([plait.ProcessPoolExecutor(max_workers=1)], initialize_logging=False)):
    print(use(4).result(), made(4).result(), move(Point(1)).result() == Point(2))
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["script", "stdin"])
def test_what_the_main_module_defines_works_in_workers(way, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    command = [sys.executable, script] if way == "script" else [sys.executable, "-"]
    done = subprocess.run(command, input=PROGRAM, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout.strip(), done.stderr) == ("6.0 7.0 True", "")


@pytest.mark.slow
def test_an_app_that_is_used_inside_a_task_of_a_worker_says_what_to_do(processes):
    inner = plait.python_app(double)
    error = plait.python_app(lambda: inner(3))().exception()
    assert isinstance(error, NoDataFlowKernelError)
    assert "join_app" in str(error)


def test_a_task_on_threads_may_call_apps_and_wait_for_them(threads):
    inner = plait.python_app(double)
    outer = plait.python_app(lambda n: inner(n).result() + 1)
    assert [future.result(10) for future in plait.map(outer, range(20))] == [2 * n + 1 for n in range(20)]


# ------------------------------------------------------------------ reserved keywords
def test_the_function_gets_the_reserved_keywords_that_it_declares(threads):
    @plait.python_app
    def declares(inputs=(), outputs=(), walltime=None):
        return list(inputs), [str(o) for o in outputs], walltime

    @plait.python_app
    def takes_any(**kwargs):
        return sorted(kwargs)

    @plait.python_app
    def takes_none(x):
        return x

    assert declares(inputs=[1], outputs=["a"], walltime=9).result() == ([1], ["a"], 9)
    assert takes_any(inputs=[1], walltime=9, label="l", y=0).result() == ["inputs", "label", "walltime", "y"]
    assert takes_none(5, walltime=9, label="l", parsl_resource_specification={"cores": 1}).result() == 5


def test_defaults_of_reserved_keywords_count_as_values_of_the_call(threads, tmp_path):
    @plait.python_app
    def sleeper(walltime=0.05):
        import time

        time.sleep(0.3)

    @plait.bash_app
    def writes(outputs=(tmp_path / "made",), stdout=(str(tmp_path / "out"), "w")):
        return f"echo x > {outputs[0]}; echo y"

    assert isinstance(sleeper().exception(), AppTimeout)
    future = writes()
    assert future.outputs[0].result().filepath == str(tmp_path / "made")
    assert (tmp_path / "out").read_text() == "y\n"


def test_lists_of_the_caller_are_never_changed(threads, tmp_path):
    inputs, outputs = [plait.python_app(double)(2), 7], [str(tmp_path / "a")]
    before = list(inputs), list(outputs)

    @plait.python_app
    def spoils(inputs, outputs):
        found = list(inputs)
        Path(outputs[0]).touch()
        inputs.clear()
        outputs.clear()
        return found

    future = spoils(inputs=inputs, outputs=outputs)
    assert future.result() == [4, 7]
    assert (inputs, outputs) == before
    assert spoils(inputs=tuple(inputs), outputs=tuple(outputs)).result() == [4, 7]


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("inputs", "a.txt", r"inputs='a\.txt': expected a list; write inputs=\['a\.txt'\]"),
        ("inputs", 3, r"inputs=3: expected a list"),
        ("outputs", "a.txt", r"outputs='a\.txt': expected a list"),
        ("outputs", plait.File("a"), r"expected a list"),
        ("outputs", [3], r"expected Files, paths or strings, not int"),
        ("outputs", ["http://h/f"], r"no staging provider for http://"),
        ("walltime", "soon", r"walltime='soon'"),
        ("walltime", -1, r"walltime=-1"),
    ],
)
def test_reserved_keywords_with_impossible_values_are_refused_at_the_call(threads, keyword, value, expected):
    with pytest.raises((TypeError, ValueError), match=expected):
        plait.python_app(lambda **kwargs: kwargs)(**{keyword: value})
    assert threads.task_count == 0


def test_a_remote_file_as_an_argument_is_refused_at_the_call(threads):
    with pytest.raises(ValueError, match="no staging provider for ftp://"):
        plait.python_app(double)(plait.File("ftp://h/f"))
    with pytest.raises(ValueError, match="no staging provider for ftp://"):
        plait.python_app(lambda inputs: inputs)(inputs=[plait.File("ftp://h/f")])


@pytest.mark.parametrize("spec", [["cores"], {"colour": 1}, {"cores": "many"}, {"cores": 99}])
def test_resource_specifications_that_cannot_be_met_are_refused_at_the_call(threads, spec):
    with pytest.raises(InvalidResourceSpecification):
        plait.python_app(double)(1, parsl_resource_specification=spec)
    assert threads.task_count == 0


# ------------------------------------------------------------------ files
@pytest.mark.parametrize("kind", [str, Path, plait.File])
def test_outputs_may_be_strings_paths_and_files(threads, tmp_path, kind):
    @plait.bash_app
    def write(outputs=()):
        return f"echo hello > {outputs[0]}"

    @plait.python_app
    def read(path):
        return Path(path).read_text()

    future = write(outputs=[kind(str(tmp_path / "f"))])
    (data,) = future.outputs
    assert isinstance(data, plait.DataFuture)
    assert (data.filepath, data.parent, data.tid) == (str(tmp_path / "f"), future, future.tid)
    assert read(data).result() == "hello\n"
    assert isinstance(data.result(), plait.File)


def test_a_data_future_is_done_only_when_the_file_is_there(threads, tmp_path):
    go = threading.Event()

    @plait.python_app
    def write(outputs=()):
        go.wait(10)
        Path(outputs[0]).write_text("x")

    (data,) = write(outputs=[tmp_path / "f"]).outputs
    assert not data.done()
    assert "not yet" in repr(data)
    go.set()
    assert os.path.exists(data.result())


def test_a_python_app_that_does_not_make_its_file_fails_the_data_future_alone(threads, tmp_path):
    future = plait.python_app(lambda outputs: "done")(outputs=[tmp_path / "never"])
    assert future.result() == "done"
    error = future.outputs[0].exception()
    assert isinstance(error, MissingOutputs)
    assert error.outputs == [str(tmp_path / "never")]
    after = plait.python_app(str)(future.outputs[0])
    assert isinstance(after.exception(), DependencyError)
    assert isinstance(after.exception().__cause__, MissingOutputs)


def test_a_bash_app_that_does_not_make_its_file_fails(threads, tmp_path):
    future = plait.bash_app(lambda outputs: "true")(outputs=[tmp_path / "never"])
    assert isinstance(future.exception(), MissingOutputs)
    assert isinstance(future.outputs[0].exception(), MissingOutputs)


def test_a_failed_app_fails_its_files_with_its_error(threads, tmp_path):
    future = plait.bash_app(lambda outputs: "exit 3")(outputs=[tmp_path / "f"])
    assert isinstance(future.exception(), BashExitFailure)
    assert future.outputs[0].exception() is future.exception()


# ------------------------------------------------------------------ streams
@plait.python_app
def talk(text, stdout=None, stderr=None):
    import sys

    print(text)
    print(text.upper(), file=sys.stderr)


def test_a_python_app_may_capture_its_output(threads, tmp_path):
    out, err = tmp_path / "sub" / "out", tmp_path / "err"
    futures = [talk("one", stdout=str(out), stderr=(err, "w")), talk("two", stdout=tmp_path / "two")]
    assert [f.result() for f in futures] == [None, None]
    assert (out.read_text(), err.read_text()) == ("one\n", "ONE\n")
    talk("more", stdout=out).result()  # a path alone is appended to
    assert out.read_text() == "one\nmore\n"


@pytest.mark.slow
def test_a_python_app_in_a_process_captures_what_c_code_and_children_write(processes, tmp_path):
    @plait.python_app
    def low(stdout=None):
        import os

        os.write(1, b"descriptor\n")
        os.system("echo child")

    low(stdout=(tmp_path / "out", "w")).result()
    assert (tmp_path / "out").read_text() == "descriptor\nchild\n"


@pytest.mark.parametrize("spec", [("a", "w", "x"), ("a", 3), 5, ("out", "r")])
def test_impossible_streams_fail_the_task(threads, spec):
    error = plait.bash_app(lambda stdout: "true")(stdout=spec).exception(10)
    assert "stdout" in str(error)
    assert plait.python_app(double)(2).result(10) == 4  # the thread goes on


def test_a_file_for_a_stream_gives_a_data_future(threads, tmp_path):
    future = plait.bash_app(lambda stdout: "echo hello")(stdout=plait.File(str(tmp_path / "o")))
    assert isinstance(future.stdout, plait.DataFuture)
    assert plait.python_app(lambda f: Path(f).read_text())(future.stdout).result() == "hello\n"


def test_auto_logname_names_a_file_of_the_task(tmp_path):
    with plait.load(plait.Config([plait.ThreadPoolExecutor()], run_dir=tmp_path / "runs", progress=False)) as kernel:
        plain = plait.bash_app(lambda stdout, stderr: "echo out; echo err >&2", label="not this")
        future = plain(stdout=plait.AUTO_LOGNAME, stderr=plait.AUTO_LOGNAME, label="part")
        future.result()
        folder = os.path.join(kernel.run_dir, "task_logs", "0000")
        assert future.stdout == os.path.join(folder, f"task_0000_{plain.__name__}_part.stdout")
        assert future.stderr.endswith("_part.stderr")
        assert Path(future.stdout).read_text() == "out\n"
        assert "err\n" in Path(future.stderr).read_text()
        outside = plain(stdout=plait.AUTO_LOGNAME, stderr=plait.AUTO_LOGNAME, label="../../a")
        outside.result()
        assert outside.stdout == os.path.join(folder, f"task_0001_{plain.__name__}_.._.._a.stdout")


def test_std_autopath_decides_what_auto_logname_is(tmp_path):
    def choose(record, name):
        return tmp_path / f"{record['func_name']}-{record['id']}.{name}", "w"

    config = plait.Config([plait.ThreadPoolExecutor()], initialize_logging=False, std_autopath=choose, progress=False)
    with plait.load(config):
        future = talk("x", stdout=plait.AUTO_LOGNAME)
        future.result()
    assert future.stdout == (tmp_path / "talk-0.stdout", "w")
    assert (tmp_path / "talk-0.stdout").read_text() == "x\n"


def test_a_std_autopath_that_raises_fails_the_task(tmp_path):
    config = plait.Config(
        [plait.ThreadPoolExecutor()], initialize_logging=False, std_autopath=lambda *_: 1 / 0, progress=False
    )
    with plait.load(config):
        assert isinstance(talk("x", stdout=plait.AUTO_LOGNAME).exception(), ZeroDivisionError)


# ------------------------------------------------------------------ futures in arguments
@dataclass(frozen=True)
class Job:
    name: str
    parts: tuple


def test_futures_are_found_in_containers_and_dataclasses(threads):
    f = plait.python_app(double)
    same = plait.python_app(lambda *args, **kwargs: (args, kwargs))
    args, kwargs = same(f(1), [f(2), {"k": (f(3), 0)}], Job("j", ({f(4)},)), key={f(5): 1}).result()
    assert args == (2, [4, {"k": (6, 0)}], Job("j", ({8},)))
    assert kwargs == {"key": {10: 1}}


def test_futures_of_others_are_dependencies_too(threads):
    import concurrent.futures

    other: concurrent.futures.Future[int] = concurrent.futures.Future()
    future = plait.python_app(double)(other)
    assert not future.done()
    other.set_result(4)
    assert future.result() == 8

    failed: concurrent.futures.Future[int] = concurrent.futures.Future()
    future = plait.python_app(double)(failed)
    failed.set_exception(KeyError("gone"))
    assert isinstance(future.exception(), DependencyError)
    assert isinstance(future.exception().__cause__, KeyError)


def test_failures_propagate_with_their_root_and_other_branches_go_on(threads):
    f = plait.python_app(lambda *args: args and args[0])
    bad = plait.python_app(lambda: 1 / 0)()
    middle = f(bad)
    last = f([middle, 5])
    error = last.exception()
    assert isinstance(error, DependencyError)
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert f"task {middle.tid}" in str(error)
    assert f"task {bad.tid}" in str(error)
    assert last.task_status() == "dep_fail"
    assert f(5).result() == 5
    assert "ZeroDivisionError" in last.explain()


# ------------------------------------------------------------------ lifting
@plait.python_app
def table():
    from types import SimpleNamespace

    return {"a": [10, 20], "point": SimpleNamespace(x=3)}


def test_lifting_gives_futures_of_items_and_attributes(threads):
    future = table()
    assert future["a"][1].result() == 20
    assert future["point"].x.result() == 3
    assert plait.python_app(double)(future["a"][0]).result() == 20
    assert plait.python_app(double)([future["a"]]).result() == [[10, 20]] * 2


def test_hasattr_and_unused_lifts_submit_nothing(threads):
    future = table()
    future.result()
    count = threads.task_count
    assert hasattr(future, "items")
    assert not hasattr(future, "no_such_method")  # the result is known, so its own attributes decide
    assert not hasattr(future, "_private")
    _ = future["a"]["b"]
    assert threads.task_count == count


def test_a_failed_lift_fails_where_it_is_used(threads):
    future = table()
    with pytest.raises(KeyError):
        future["missing"].result()
    with pytest.raises(AttributeError):
        future["point"].y.result()
    broken = plait.python_app(lambda: 1 / 0)()
    assert isinstance(broken["x"].exception(), DependencyError)
    with pytest.raises(AttributeError):
        future._secret
    with pytest.raises(TypeError, match="cannot be iterated"):
        list(future)


# ------------------------------------------------------------------ joins
def test_a_join_app_gives_the_results_of_what_it_returns(threads):
    f = plait.python_app(double)
    assert plait.join_app(lambda: f(1))().result() == 2
    assert plait.join_app(lambda: [f(1), f(2)])().result() == [2, 4]
    assert plait.join_app(lambda: {"a": (f(1), [f(2), 7])})().result() == {"a": (2, [4, 7])}
    assert plait.join_app(list)().result() == []


@pytest.mark.parametrize("value", [3, None, "text", [1, 2]])
def test_a_join_app_that_returns_no_future_fails_and_says_what_to_do(threads, value):
    error = plait.join_app(lambda: value)().exception()
    assert isinstance(error, TypeError)
    assert "must return a future" in str(error)


def test_a_failure_inside_is_a_join_error_with_its_root(threads):
    bad = plait.python_app(lambda: 1 / 0)
    error = plait.join_app(lambda: [bad(), bad()])().exception()
    assert isinstance(error, JoinError)
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert len(error.dependent_exceptions_tids) == 2
    assert isinstance(plait.join_app(lambda: 1 / 0)().exception(), ZeroDivisionError)  # of the body itself


def test_joins_nest_two_thousand_deep_and_hold_no_thread(threads):
    leaf = plait.python_app(double)

    @plait.join_app
    def nest(n):
        return nest(n - 1) if n else leaf(21)

    before = threading.active_count()
    assert nest(2000).result(60) == 42
    assert threading.active_count() - before < 20


def test_a_failure_two_thousand_joins_deep_can_be_pickled(threads):
    import pickle

    bad = plait.python_app(lambda: 1 / 0)

    @plait.join_app
    def nest(n):
        return nest(n - 1) if n else bad()

    error = nest(2000).exception(60)
    assert isinstance(error, JoinError)
    assert isinstance(pickle.loads(pickle.dumps(error)).__cause__ or error.__cause__, ZeroDivisionError)


def test_cancelling_a_join_cancels_what_it_waits_for(threads):
    go = threading.Event()
    inner = []

    @plait.join_app
    def waits():
        inner.append(plait.python_app(double)(plait.python_app(go.wait)(10)))
        return inner[0]

    future = waits()
    wait_until(lambda: future.task_status() == "joining")
    assert "waits for what it returned" in future.explain()
    assert future.cancel()
    assert inner[0].cancelled()
    go.set()


# ------------------------------------------------------------------ options
def test_options_give_a_twin_with_other_options(threads):
    app = plait.python_app(double)
    twin = app.options(cores=2, priority=1)
    assert twin(4).result() == 8
    assert twin.spec.resources.cores == 2
    assert app.spec.resources is None
    assert app.options(cores=2, priority=1) is twin
    assert twin.options(cores=1).spec.resources.priority == 1  # the others stay


@pytest.mark.parametrize(
    "options",
    [
        {"core": 1},
        {"max_losses": -1},
        {"max_losses": True},
        {"cores": 0},
        {"memory": "much"},
        {"retries": "often"},
        {"executors": ("a",)},
        {"executors": []},
    ],
)
def test_impossible_options_are_refused_where_they_are_written(options):
    with pytest.raises((ConfigurationError, InvalidResourceSpecification, ValueError)):
        plait.python_app(double).options(**options)
    with pytest.raises((ConfigurationError, InvalidResourceSpecification, ValueError)):
        plait.python_app(**options)(double)


def test_more_than_the_executor_has_is_refused_at_the_call_with_the_numbers(threads):
    with pytest.raises(InvalidResourceSpecification, match=r"8 cores asked, executor 'threads' has 4"):
        plait.python_app(double, cores=8)(1)


def test_a_label_that_no_executor_has_is_refused_at_the_call(threads):
    with pytest.raises(ValueError, match=r"expected some of 'threads'"):
        plait.python_app(double, executors=["gpu"])(1)


# ------------------------------------------------------------------ cache
def test_equal_calls_run_once(threads):
    @plait.python_app(cache=True, ignore_for_cache=["calls"])
    def once(x, calls):
        calls.append(x)
        return [x]

    calls = []  # not a global of the function: what it reads counts for its key
    first = once(1, calls=calls)
    assert first.result() == [1]
    second = once(1, calls=calls)
    assert second.result() == [1]
    assert second.task_status() == "memo_done"
    assert "was not run" in second.explain()
    assert once(2, calls=calls).result() == [2]
    assert calls == [1, 2]


def test_a_cached_failure_is_given_again(threads):
    @plait.python_app(cache=True, ignore_for_cache=["calls"])
    def fails(x, calls):
        calls.append(x)
        raise KeyError(x)

    calls = []
    assert repr(fails(1, calls=calls).exception()) == repr(fails(1, calls=calls).exception()) == "KeyError(1)"
    assert calls == [1]


def test_an_argument_without_a_key_fails_the_task_and_is_named(threads):
    error = plait.python_app(double, cache=True)(threading.Lock()).exception()
    assert isinstance(error, ValueError)
    assert "argument 0" in str(error)


def test_inputs_may_be_an_array_also_by_default(threads):
    array = np.ones(3)
    take = plait.python_app(lambda inputs=array: inputs)
    assert take().result(5) is array
    assert take(inputs=array).result(5) is array
