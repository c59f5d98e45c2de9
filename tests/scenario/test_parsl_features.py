"""What users of Parsl rely on, feature by feature, through its own import paths.

Each row of the table is a feature in our words; the function below it that bears its name shows it. Rows without a function fail.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import pathlib
import threading
import time
from concurrent.futures import Future

import pytest

import plait.compat.parsl  # noqa: F401 - from here on `parsl` is it

import parsl  # isort: skip
from parsl import AUTO_LOGNAME, File, bash_app, join_app, python_app  # isort: skip
from parsl.app.errors import AppTimeout, BadStdStreamFile, BashExitFailure, MissingOutputs  # isort: skip
from parsl.app.futures import DataFuture  # isort: skip
from parsl.config import Config  # isort: skip
from parsl.dataflow.dependency_resolvers import DEEP_DEPENDENCY_RESOLVER  # isort: skip
from parsl.dataflow.dflow import DataFlowKernel  # isort: skip
from parsl.dataflow.errors import DependencyError, JoinError  # isort: skip
from parsl.dataflow.memoization import id_for_memo  # isort: skip
from parsl.errors import NoDataFlowKernelError  # isort: skip
from parsl.executors import ThreadPoolExecutor  # isort: skip

TABLE = """
core     | wait_for_current_tasks       | waits until all tasks have ended
config   | exit_mode_cleanup            | leaving the block does not wait for the tasks
config   | exit_mode_wait               | leaving it regularly waits; by an exception it does not
config   | exit_mode_skip               | leaving it leaves the kernel loaded
config   | garbage_collect              | records of ended tasks go; or stay, when told so
config   | internal_threads             | bodies of join apps use at most so many threads
config   | run_dir                      | runs are numbered under the folder
config   | std_autopath                 | a function chooses where AUTO_LOGNAME points to
apps     | executors_list               | an app runs on the executors it lists only
apps     | executors_all                | all means all but the run's own
apps     | bash_exit                    | 0 is the result of success; other codes are BashExitFailure with name and code
apps     | bash_return                  | a command must be a string
apps     | bash_streams                 | a path is appended to; a pair has its mode; paths may be pathlib's; folders are made
apps     | bash_stdout_file             | a File as stdout gives a DataFuture
apps     | bash_banner                  | the command stands first in the file of stderr
apps     | bad_stream                   | what cannot be opened is BadStdStreamFile
apps     | auto_logname                 | task_logs/NNNN/task_ID_app[_label].stdout
apps     | auto_logname_and_cache       | a chosen name does not prevent a hit
apps     | missing_outputs              | a bash app that does not make its file has failed
apps     | bash_walltime                | AppTimeout, and the command's processes are gone
apps     | python_walltime              | AppTimeout
apps     | reserved_defaults            | defaults of the signature count
apps     | join_future                  | a join app's result is its future's
apps     | join_list                    | or the list of results, in order; [] for none
apps     | join_wrong_return            | anything else is a TypeError
apps     | join_foreign                 | futures of others may be returned
apps     | join_error                   | failures inside are a JoinError that lists all of them
apps     | join_retries                 | the body is tried again; what it waits for has retries of its own
apps     | remote_traceback             | class, traceback and cause of an error arrive
futures  | tid_and_status               | numbers grow; states have names
futures  | outputs                      | a DataFuture for each file; its result is the File
futures  | cancel                       | a task that has not begun can be cancelled
futures  | lifted                       | fut[k] and fut.name are futures; names with _ are not
futures  | standard                     | wait, as_completed, callbacks, asyncio
deps     | arguments                    | futures as arguments, keywords and in inputs are replaced
deps     | foreign                      | any standard future may be an argument
deps     | shallow                      | futures inside other lists are passed through
deps     | deep                         | or found, when asked
deps     | dependency_error             | a failed input: dep_fail, not tried again, with the cause
deps     | lazy_failure                 | what does not need it runs
deps     | lists_unchanged              | callers' lists stay as they were
retries  | budget                       | n retries give n + 1 tries
retries  | handler_cost                 | a handler's costs add up
retries  | handler_raises               | a handler that raises ends it, with its own error
memo     | hit                          | a second equal call does not run
memo     | exceptions                   | errors are remembered
memo     | ignore                       | a keyword may be left out of the key
memo     | builtin_types                | of the simple types all can be in a call
memo     | unknown_type                 | what cannot is a ValueError that says how to register
memo     | registered_type              | a type of the user's, with output_ref
memo     | dict_order                   | does not count
dfk      | after_cleanup                | an app of a kernel that has ended raises
threads  | nested                       | tasks on threads may call apps and wait for them
"""

ROWS = [tuple(cell.strip() for cell in line.split("|")) for line in TABLE.strip().splitlines()]


def quiet(**options):
    return Config(initialize_logging=False, **options)


@pytest.mark.parametrize(("area", "feature", "meaning"), ROWS, ids=[f"{row[0]}-{row[1]}" for row in ROWS])
def test_feature(area, feature, meaning, tmp_path):
    globals()[f"{area}_{feature}"](tmp_path)


def test_each_function_has_its_row():
    areas = {row[0] for row in ROWS}
    functions = {name for name in globals() if name.partition("_")[0] in areas}
    assert functions == {f"{area}_{feature}" for area, feature, _ in ROWS}


@python_app
def add(a, b=0):
    return a + b


@python_app
def fail(text="boo"):
    raise ValueError(text)


@python_app
def wait_for(event):
    return event.wait()


# ------------------------------------------------------------------ core, config
def core_wait_for_current_tasks(_):
    @python_app
    def slow():
        time.sleep(0.02)

    with parsl.load(quiet()):
        futures = [slow() for _ in range(3)]
        parsl.wait_for_current_tasks()
        assert all(future.done() for future in futures)


def config_exit_mode_cleanup(_):
    with parsl.load(quiet()):
        never = add(Future())
    assert never.done()
    with pytest.raises(NoDataFlowKernelError):
        parsl.dfk()


def config_exit_mode_wait(_):
    with parsl.load(quiet(exit_mode="wait")):
        future = add(add(1, 2), 3)
    assert future.result() == 6
    with pytest.raises(ZeroDivisionError), parsl.load(quiet(exit_mode="wait")):
        never = add(Future())
        raise ZeroDivisionError
    assert never.done()


def config_exit_mode_skip(_):
    with parsl.load(quiet(exit_mode="skip")) as kernel:
        pass
    assert parsl.dfk() is kernel
    assert add(1).result() == 1
    kernel.cleanup()


def config_garbage_collect(_):
    for collect, left in ((True, 0), (False, 1)):
        with parsl.load(quiet(garbage_collect=collect)) as kernel:
            add(1).result()
            assert len(kernel.tasks) == left


def config_internal_threads(_):
    running, most, lock = [], [], threading.Lock()

    @join_app
    def body():
        with lock:
            running.append(1)
            most.append(len(running))
        time.sleep(0.01)
        with lock:
            running.pop()
        return add(1)

    with parsl.load(quiet(internal_tasks_max_threads=2)):
        assert [future.result() for future in [body() for _ in range(8)]] == [1] * 8
    assert max(most) <= 2


def config_run_dir(tmp_path):
    for number in range(2):
        with parsl.load(Config(run_dir="runs")) as kernel:
            assert kernel.run_dir == str(tmp_path / "runs" / f"{number:03d}")
            assert os.path.exists(f"{kernel.run_dir}/parsl.log")


def config_std_autopath(tmp_path):
    def choose(record, kind):
        return (f"{record['func_name']}-{record['id']}.{kind}", "w")

    @bash_app
    def say(stdout=AUTO_LOGNAME):
        return "echo said"

    with parsl.load(quiet(std_autopath=choose)):
        future = say()
        assert future.result() == 0
        assert future.stdout == ("say-0.stdout", "w")
    assert (tmp_path / "say-0.stdout").read_text() == "said\n"


# ------------------------------------------------------------------ apps
def two():
    return quiet(executors=[ThreadPoolExecutor(label=label) for label in ("left", "right")])


def apps_executors_list(_):
    with parsl.load(two()):
        app = python_app(lambda: threading.current_thread().name, executors=["right"])
        assert all("right" in app().result() for _ in range(5))


def apps_executors_all(_):
    with parsl.load(two()):
        used = [future.task_record["executor"] for future in [add(1) for _ in range(20)] if future.result()]
        assert set(used) <= {"left", "right"}


def apps_bash_exit(_):
    @bash_app
    def leave(code):
        return f"exit {code}"

    with parsl.load(quiet()):
        assert leave(0).result() == 0
        with pytest.raises(BashExitFailure, match="bash_app leave failed with unix exit code 3") as caught:
            leave(3).result()
        assert (caught.value.app_name, caught.value.exitcode) == ("leave", 3)


def apps_bash_return(_):
    with parsl.load(quiet()), pytest.raises(ValueError, match="NoneType"):
        bash_app(lambda: None)().result()


def apps_bash_streams(tmp_path):
    @bash_app
    def say(word, stdout=None, stderr=None):
        return f"echo {word}; echo {word} >&2"

    with parsl.load(quiet()):
        for _ in range(2):
            say("a", stdout="twice").result()
            say("b", stdout=("once", "w")).result()
        say("c", stdout=pathlib.Path("deep/er/file"), stderr=(pathlib.Path("err"), "a")).result()
    assert (tmp_path / "twice").read_text() == "a\na\n"
    assert (tmp_path / "once").read_text() == "b\n"
    assert (tmp_path / "deep/er/file").read_text() == "c\n"


def apps_bash_stdout_file(tmp_path):
    @bash_app
    def say(stdout=None):
        return "echo said"

    with parsl.load(quiet()):
        future = say(stdout=File("out"))
        assert isinstance(future.stdout, DataFuture)
        assert future.stdout.result().filepath == "out"
    assert (tmp_path / "out").read_text() == "said\n"


def apps_bash_banner(tmp_path):
    with parsl.load(quiet()):
        bash_app(lambda stderr=None: "echo x >&2")(stderr="err").result()
    first, second, *_, last = (tmp_path / "err").read_text().splitlines()
    assert "echo x >&2" in first + second
    assert last == "x"


def apps_bad_stream(tmp_path):
    (tmp_path / "file").write_text("")
    with parsl.load(quiet()), pytest.raises(BadStdStreamFile):
        bash_app(lambda stdout=None: "true")(stdout="file/below").result()


def apps_auto_logname(_):
    @bash_app
    def say(stdout=AUTO_LOGNAME, stderr=AUTO_LOGNAME, label=None):
        return "echo said"

    with parsl.load(quiet()) as kernel:
        plain, labelled = say(), say(label="x")
        assert plain.result() == labelled.result() == 0
        assert plain.stdout == f"{kernel.run_dir}/task_logs/0000/task_0000_say.stdout"
        assert labelled.stderr == f"{kernel.run_dir}/task_logs/0000/task_0001_say_x.stderr"
        assert pathlib.Path(plain.stdout).read_text() == "said\n"


def apps_auto_logname_and_cache(_):
    with parsl.load(quiet()):
        say = bash_app(lambda stdout=None: "echo said", cache=True)
        assert say(stdout=AUTO_LOGNAME).result() == 0
        again = say(stdout=AUTO_LOGNAME)
        assert again.result() == 0
        assert again.task_status() == "memo_done"


def apps_missing_outputs(_):
    with parsl.load(quiet()):
        future = bash_app(lambda outputs=(): "true")(outputs=[File("nowhere")])
        with pytest.raises(MissingOutputs):
            future.result()
        with pytest.raises(MissingOutputs):
            future.outputs[0].result()


def apps_bash_walltime(tmp_path):
    with parsl.load(quiet()):
        future = bash_app(lambda walltime=0.2: "echo $$ > pid; (sleep 30; touch late) & sleep 30")()
        with pytest.raises(AppTimeout):
            future.result()
        pid = int((tmp_path / "pid").read_text())
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not (tmp_path / "late").exists()


def apps_python_walltime(_):
    go = threading.Event()

    @python_app
    def slow(walltime=0.05):
        go.wait()

    with parsl.load(quiet()):
        with pytest.raises(AppTimeout):
            slow().result()
        go.set()


def apps_reserved_defaults(tmp_path):
    @bash_app
    def say(stdout="said", walltime=60):
        return "echo x"

    with parsl.load(quiet()):
        future = say()
        assert future.result() == 0
        assert future.stdout == "said"
    assert (tmp_path / "said").read_text() == "x\n"


def apps_join_future(_):
    with parsl.load(quiet()):
        join = join_app(lambda n: add(n, 1))
        assert join(join(1)).result() == 3


def apps_join_list(_):
    with parsl.load(quiet()):
        join = join_app(lambda n: [add(i) for i in range(n)])
        assert join(3).result() == [0, 1, 2]
        assert join(0).result() == []


def apps_join_wrong_return(_):
    with parsl.load(quiet()), pytest.raises(TypeError, match="join_app"):
        join_app(lambda: 3)().result()


def apps_join_foreign(_):
    with parsl.load(quiet()), concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert join_app(lambda: pool.submit(int, "3"))().result() == 3


def apps_join_error(_):
    with parsl.load(quiet(retries=1)):
        future = join_app(lambda: [fail("a"), add(1), fail("b")])()
        error = future.exception()
        assert isinstance(error, JoinError)
        assert [str(cause) for cause, _ in error.dependent_exceptions_tids] == ["a", "b"]
        assert isinstance(error.__cause__, ValueError)


def apps_join_retries(_):
    bodies, inner = [], []

    @python_app
    def inside():
        inner.append(1)
        raise ValueError

    @join_app
    def body():
        bodies.append(1)
        if len(bodies) < 2:
            raise OSError
        return inside()

    with parsl.load(quiet(retries=1)):
        assert isinstance(body().exception(), JoinError)
    assert (len(bodies), len(inner)) == (2, 2)


def apps_remote_traceback(_):
    import traceback

    @python_app
    def chained():
        try:
            return 1 / 0
        except ZeroDivisionError as error:
            raise KeyError("k") from error

    with parsl.load(quiet()):
        error = chained().exception()
        assert isinstance(error, KeyError)
        assert isinstance(error.__cause__, ZeroDivisionError)
        assert "in chained" in "".join(traceback.format_exception(error))


# ------------------------------------------------------------------ futures
def futures_tid_and_status(_):
    go = threading.Event()
    with parsl.load(quiet()):
        first, second = wait_for(go), add(1)
        assert (first.tid, second.tid) == (0, 1)
        waiting = add(first)
        assert waiting.task_status() == "pending"
        go.set()
        assert waiting.result() == 1
        assert waiting.task_status() == "exec_done"
        assert fail().exception() is not None


def futures_outputs(tmp_path):
    @bash_app
    def make(outputs=()):
        return f"echo made > {outputs[0]}"

    @python_app
    def read(inputs=()):
        with open(inputs[0]) as file:
            return file.read()

    with parsl.load(quiet()):
        made = make(outputs=[File("it")])
        (output,) = made.outputs
        assert (output.tid, output.filename, output.file_obj.filepath) == (0, "it", "it")
        assert read(inputs=[output]).result() == "made\n"
        assert output.result().filepath == "it"
        failed = bash_app(lambda outputs=(): "exit 1")(outputs=[File("none")])
        assert isinstance(failed.outputs[0].exception(), BashExitFailure)


def futures_cancel(_):
    with parsl.load(quiet()):
        needed = Future()
        waiting = add(needed)
        assert waiting.cancel()
        assert waiting.cancelled()
        assert waiting.task_status() == "cancelled"
        needed.set_result(1)


class Point:
    def __init__(self, x):
        self.x = x


def futures_lifted(_):
    with parsl.load(quiet()):
        point = python_app(Point)(python_app(dict)(a=3)["a"])
        assert point.x.result() == 3
        with pytest.raises(KeyError):
            python_app(dict)()["nothing"].result()
        with pytest.raises(AttributeError):
            point._private


def futures_standard(_):
    called = []
    with parsl.load(quiet()):
        futures = [add(i) for i in range(5)]
        futures[0].add_done_callback(called.append)
        done, not_done = concurrent.futures.wait(futures)
        assert (done, not_done) == (set(futures), set())
        assert {future.result() for future in concurrent.futures.as_completed(futures)} == set(range(5))
        assert called == [futures[0]]

        async def main():
            return await asyncio.wrap_future(add(1)), await add(2)

        assert asyncio.run(main()) == (1, 2)


# ------------------------------------------------------------------ dependencies
def deps_arguments(_):
    @python_app
    def total(first, inputs=(), last=0):
        return first + sum(inputs) + last

    with parsl.load(quiet()):
        assert total(add(1), inputs=[add(2), 3, add(4)], last=add(5)).result() == 15


def deps_foreign(_):
    foreign = Future()
    with parsl.load(quiet()):
        future = add(foreign, 1)
        foreign.set_result(2)
        assert future.result() == 3


def deps_shallow(_):
    with parsl.load(quiet()):
        assert isinstance(python_app(lambda items: items[0])([add(1)]).result(), Future)


def deps_deep(_):
    with parsl.load(quiet(dependency_resolver=DEEP_DEPENDENCY_RESOLVER)):
        same = python_app(lambda value: value)
        assert same([1, (add(2), {add(3)}), {"a": {add(4): add(5)}}]).result() == [1, (2, {3}), {"a": {4: 5}}]


def deps_dependency_error(_):
    tries = []

    @python_app
    def needs(x):
        tries.append(x)

    with parsl.load(quiet(retries=2)):
        failed = fail("root")
        last = needs(needs(failed))
        error = last.exception()
        assert isinstance(error, DependencyError)
        assert last.task_status() == "dep_fail"
        assert error.__cause__ is failed.exception()
        assert "task 0" in str(error)
        assert "root" in str(error)
    assert tries == []


def deps_lazy_failure(_):
    with parsl.load(quiet()):
        failed, fine = fail(), add(1)
        assert isinstance(add(failed, fine).exception(), DependencyError)
        assert add(fine, 1).result() == 2


def deps_lists_unchanged(_):
    @bash_app
    def touch(inputs=(), outputs=()):
        return f"touch {outputs[0]}"

    with parsl.load(quiet()):
        first = add(1)
        inputs, outputs = [first, File("in")], [File("out")]
        before = (list(inputs), list(outputs))
        touch(inputs=inputs, outputs=outputs).result()
        assert (inputs, outputs) == before


# ------------------------------------------------------------------ retries
def retries_budget(_):
    tries = []

    @python_app
    def counted(inputs=()):
        tries.append(1)
        raise ValueError

    with parsl.load(quiet(retries=3)):
        future = counted()
        assert isinstance(future.exception(), ValueError)
        assert (future.task_record["fail_count"], future.task_record["try_id"]) == (4, 3)
    assert len(tries) == 4


def retries_handler_cost(_):
    seen = []

    def handler(error, record):
        seen.append((type(error).__name__, record["func_name"]))
        return 0.4

    with parsl.load(quiet(retries=1, retry_handler=handler)):
        assert isinstance(fail().exception(), ValueError)
    assert seen == [("ValueError", "fail")] * 3


def retries_handler_raises(_):
    def handler(error, record):
        raise LookupError("mine")

    with parsl.load(quiet(retries=5, retry_handler=handler)):
        assert isinstance(fail().exception(), LookupError)


# ------------------------------------------------------------------ memoization
def note(what):
    """Runs are counted in a file: a list that an app's function holds would be part of its key."""
    with open("ran", "a") as file:
        file.write(f"{what}\n")


def ran():
    return pathlib.Path("ran").read_text().split()


def memo_hit(_):
    with parsl.load(quiet()):
        app = python_app(note, cache=True)
        app(1).result()
        again = app(1)
        again.result()
        assert again.task_status() == "memo_done"
        assert again.task_record["from_memo"]
        app(2).result()
    assert ran() == ["1", "2"]


def memo_exceptions(_):
    def failing():
        note("it")
        raise ValueError("once")

    with parsl.load(quiet()):
        app = python_app(failing, cache=True)
        assert [str(app().exception()) for _ in range(2)] == ["once", "once"]
    assert ran() == ["it"]


def memo_ignore(_):
    with parsl.load(quiet()):
        app = python_app(lambda x, debug=False: note(x), cache=True, ignore_for_cache=["debug", "absent"])
        app(1, debug=True).result()
        app(1, debug=False).result()
    assert ran() == ["1"]


def memo_builtin_types(_):
    values = ["s", 1, True, 1.5, None, [1, [2]], (1, (2,)), {"a": {"b": 1}}, len]
    with parsl.load(quiet()):
        app = python_app(str, cache=True)
        for value in values:
            assert app(value).result() == str(value)
            assert app(value).result() == str(value)
        assert parsl.dfk().task_state_counts[9] == len(values)


def memo_unknown_type(_):
    with parsl.load(quiet()), pytest.raises(ValueError, match="unknown type for memoization"):
        python_app(str, cache=True)(object()).result()


class Sample:
    def __init__(self, name):
        self.name = name


def memo_registered_type(_):
    seen = []

    @id_for_memo.register(Sample)
    def _(sample, output_ref=False):
        seen.append(output_ref)
        return sample.name.encode()

    with parsl.load(quiet()):
        app = python_app(lambda sample: note(sample.name), cache=True)
        app(Sample("a")).result()
        app(Sample("a")).result()
        app(Sample("b")).result()
    assert ran() == ["a", "b"]
    assert set(seen) == {False}


def memo_dict_order(_):
    with parsl.load(quiet()):
        app = python_app(lambda d, **more: 1, cache=True)
        app({"a": 1, "b": 2}, x=1, y=2).result()
        again = app({"b": 2, "a": 1}, y=2, x=1)
        again.result()
        assert again.task_status() == "memo_done"


# ------------------------------------------------------------------ kernel, threads
def dfk_after_cleanup(_):
    kernel = DataFlowKernel(quiet())
    app = python_app(int, data_flow_kernel=kernel)
    assert app("3").result() == 3
    kernel.cleanup()
    with pytest.raises(NoDataFlowKernelError):
        app("3")


def threads_nested(_):
    @python_app
    def outer(n):
        return n if n == 0 else outer(n - 1).result() + 1

    with parsl.load(quiet()):
        assert outer(20).result() == 20
