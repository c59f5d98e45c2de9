"""Programs as Parsl's guide has its users write them, run unchanged in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from tests.support import ROOT

PREAMBLE = "import parsl\nfrom parsl import *\n"

PROGRAMS = {
    "hello": """
        from parsl import python_app, bash_app
        parsl.load()

        @python_app
        def hello():
            return 'Hello World from Python!'

        @bash_app
        def echo_hello(stdout='echo-hello.stdout', stderr='echo-hello.stderr'):
            return 'echo "Hello World!"'

        print(hello().result())
        echo_hello().result()
        with open('echo-hello.stdout') as f:
            print(f.read(), end='')
        parsl.dfk().cleanup()
        parsl.clear()
    """,
    "pi": """
        from parsl.config import Config
        from parsl.executors.threads import ThreadPoolExecutor

        @python_app
        def pi(num_points):
            from random import random
            inside = 0
            for i in range(num_points):
                x, y = random(), random()
                if x**2 + y**2 < 1:
                    inside += 1
            return (inside * 4 / num_points)

        @python_app
        def mean(a, b, c):
            return (a + b + c) / 3

        config = Config(executors=[ThreadPoolExecutor(max_threads=4, label='local_threads')])
        with parsl.load(config):
            a, b, c = pi(10**4), pi(10**4), pi(10**4)
            print(round(mean(a, b, c).result()))
    """,
    "map_reduce": """
        parsl.load()

        @python_app
        def generate(limit):
            return limit * 2

        @python_app
        def total(inputs=()):
            return sum(inputs)

        mapped = [generate(i) for i in range(10)]
        print(total(inputs=mapped).result())
        print([f.result() for f in mapped])
        parsl.dfk().cleanup()
    """,
    "files": """
        from parsl.data_provider.files import File

        @bash_app
        def save(message, outputs=[]):
            return 'echo {} &> {}'.format(message, outputs[0])

        @bash_app
        def concat(inputs=[], outputs=[], stdout='stdout.txt', stderr='stderr.txt'):
            return 'cat {} > {}'.format(' '.join(i.filepath for i in inputs), outputs[0])

        with parsl.load():
            saved = [save(f'line {n}', outputs=[File(f'part-{n}.txt')]) for n in range(3)]
            all_ = concat(inputs=[s.outputs[0] for s in saved], outputs=[File('all.txt')])
            with open(all_.outputs[0].result()) as f:
                print(f.read(), end='')
    """,
    "join": """
        from parsl.app.app import join_app

        @python_app
        def add(*args):
            return sum(args)

        @join_app
        def fibonacci(n):
            if n == 0:
                return add()
            elif n == 1:
                return add(1)
            else:
                return add(fibonacci(n - 1), fibonacci(n - 2))

        with parsl.load():
            print(fibonacci(10).result())
    """,
    "lifting": """
        from concurrent.futures import as_completed

        @python_app
        def sides():
            return {'a': 3, 'b': [4, 5]}

        class Result:
            def __init__(self, value):
                self.value = value

        @python_app
        def made(x):
            return Result(x)

        with parsl.load():
            s = sides()
            print(s['a'].result(), s['b'][1].result(), made(s['a']).value.result())
            print(sorted(f.result() for f in as_completed([s['a'], s['b'][0]])))
    """,
    "exceptions": """
        from parsl.dataflow.errors import DependencyError, JoinError
        from parsl.app.errors import BashExitFailure, AppTimeout, MissingOutputs
        from parsl.errors import ParslError, NoDataFlowKernelError

        @python_app
        def bad_divide(x):
            return 6 / x

        @python_app
        def plus(x):
            return x + 1

        @bash_app
        def leave(code):
            return f'exit {code}'

        @join_app
        def joined():
            return [bad_divide(0), bad_divide(1)]

        try:
            plus(1)
        except NoDataFlowKernelError as e:
            print(e)
        with parsl.load():
            try:
                bad_divide(0).result()
            except ZeroDivisionError as e:
                print('Oops!', e)
            try:
                plus(bad_divide(0)).result()
            except DependencyError as e:
                print(type(e.__cause__).__name__, isinstance(e, ParslError))
            try:
                leave(9).result()
            except BashExitFailure as e:
                print(e)
            try:
                joined().result()
            except JoinError as e:
                print(len(e.dependent_exceptions_tids))
    """,
    "retries": """
        from parsl import Config
        attempts = []

        def handler(exception, task_record):
            return 1 if isinstance(exception, OSError) else 100

        @python_app
        def flaky():
            attempts.append(1)
            if len(attempts) < 3:
                raise OSError('again')
            return len(attempts)

        @python_app
        def hopeless():
            attempts.append('h')
            raise ValueError('no use')

        with parsl.load(Config(retries=5, retry_handler=handler)):
            print(flaky().result())
            print(repr(hopeless().exception()), attempts.count('h'))
    """,
    "configuration": """
        from parsl.config import Config
        from parsl.executors import ThreadPoolExecutor
        from parsl.usage_tracking.levels import LEVEL_1
        from parsl.utils import get_all_checkpoints

        config = Config(
            executors=[ThreadPoolExecutor(label='threads', max_threads=8), ThreadPoolExecutor(label='few', max_threads=1)],
            app_cache=True, checkpoint_files=get_all_checkpoints(), retries=1, run_dir='runs', strategy='none', usage_tracking=LEVEL_1,
        )

        @python_app(executors=['few'], cache=True, ignore_for_cache=['verbose'])
        def where(verbose=False):
            import threading
            return threading.current_thread().name

        with parsl.load(config) as dfk:
            print('few' in where().result(), sorted(dfk.executors), dfk.config.retries, dfk.task_count)
            print(where(verbose=True).result() == where().result())
            parsl.wait_for_current_tasks()
        import os
        print(os.path.exists('runs/000/parsl.log'))
    """,
    "pool": """
        from parsl.concurrent import ParslPoolExecutor
        from parsl.configs.local_threads import config

        def f(x):
            return x + 1

        with ParslPoolExecutor(config) as executor:
            print(list(executor.map(f, range(4))), executor.submit(f, executor.submit(f, 1)).result())
    """,
    "executor": """
        from concurrent.futures import ThreadPoolExecutor as Standard
        from parsl.config import Config
        from parsl.executors.base import ParslExecutor
        from parsl.utils import RepresentationMixin

        class Mine(ParslExecutor, RepresentationMixin):
            def __init__(self, label='mine', size=2):
                super().__init__()
                self.label = label
                self.size = size

            def start(self):
                self.pool = Standard(self.size)

            def submit(self, func, resource_specification, *args, **kwargs):
                return self.pool.submit(func, *args, **kwargs)

            def shutdown(self):
                self.pool.shutdown()

        @python_app
        def double(x):
            return 2 * x

        with parsl.load(Config(executors=[Mine()])) as dfk:
            print(double(double(3)).result(), dfk.executors['mine'])
    """,
    "workers": """
        from plait import ProcessPoolExecutor
        from parsl.config import Config

        class Thing:
            def __init__(self, x):
                self.x = x

        FACTOR = 3

        @python_app
        def work(thing):
            import os, sys
            import parsl
            from parsl.app.errors import AppException
            from parsl.data_provider.files import File
            return Thing(thing.x * FACTOR), os.getppid(), parsl.__name__, File('a').filepath

        import os
        if __name__ == '__main__':
            with parsl.load(Config(executors=[ProcessPoolExecutor(max_workers=1)])):
                thing, parent, name, path = work(Thing(2)).result()
                print(thing.x, isinstance(thing, Thing), parent != os.getpid(), name, path)
    """,
    "pilots": """
        from parsl.addresses import address_by_hostname
        from parsl.executors import HighThroughputExecutor
        from parsl.launchers import SingleNodeLauncher
        from parsl.providers import LocalProvider

        config = Config(
            executors=[
                HighThroughputExecutor(
                    label='local_htex',
                    cores_per_worker=1,
                    max_workers_per_node=2,
                    provider=LocalProvider(min_blocks=1, init_blocks=1, max_blocks=1, nodes_per_block=1, parallelism=0.5,
                                           launcher=SingleNodeLauncher(), worker_init='export MINE=yes'),
                )
            ],
            strategy='simple',
        )

        class Thing:
            def __init__(self, x):
                self.x = x

        @python_app
        def increment(thing, resources=None):
            import os
            return Thing(thing.x + 1), os.environ['MINE'], sorted(k for k in os.environ if k.startswith('PARSL_WORKER_'))

        @python_app
        def first(values):
            return values[0]

        @bash_app
        def echo(text, stdout='echo.out'):
            return f'echo {text}; echo $PARSL_WORKER_BLOCK_ID'

        with parsl.load(config):
            thing, mine, names = increment(first(increment(Thing(1)))).result()
            print(thing.x, mine, ' '.join(names))
            print(echo('hello').result(), open('echo.out').read().split())
    """,
    "pilot_failures": """
        from parsl.executors import HighThroughputExecutor
        from parsl.executors.high_throughput.errors import WorkerLost
        from parsl.executors.high_throughput.interchange import ManagerLost
        from parsl.jobs.errors import TooManyJobFailuresError
        from parsl.jobs.states import JobState
        from parsl.launchers import SimpleLauncher
        from parsl.providers import LocalProvider

        seen = []

        def handler(executor, status):
            failed = [block for block, job in status.items() if job.state == JobState.FAILED]
            if failed and not seen:
                seen.append(status[failed[0]].exit_code)
                executor.set_bad_state_and_fail_all(TooManyJobFailuresError('the cluster is broken'))

        broken = HighThroughputExecutor(
            label='broken', block_error_handler=handler, provider=LocalProvider(worker_init='exit 7', launcher=SimpleLauncher())
        )
        good = HighThroughputExecutor(label='good', max_workers_per_node=1, provider=LocalProvider(launcher=SimpleLauncher()))

        @python_app(executors=['broken'])
        def never():
            pass

        @python_app(executors=['good'])
        def die():
            import os
            os._exit(3)

        with parsl.load(Config(executors=[broken, good], strategy_period=0.5)):
            print(type(never().exception()).__name__, seen, broken.bad_state_is_set)
            lost = die().exception()
            print(isinstance(lost, WorkerLost), isinstance(lost, ManagerLost))
    """,
    "absent": """
        try:
            from parsl.executors import FluxExecutor
        except ImportError as e:
            print('on other systems' in str(e))
        print(hasattr(parsl, 'MonitoringHub'))
    """,
}

EXPECTED = {
    "hello": "Hello World from Python!\nHello World!\n",
    "pi": "3\n",
    "map_reduce": "90\n[0, 2, 4, 6, 8, 10, 12, 14, 16, 18]\n",
    "files": "line 0\nline 1\nline 2\n",
    "join": "55\n",
    "lifting": "3 5 3\n[3, 4]\n",
    "exceptions": "Must first load config\nOops! division by zero\nZeroDivisionError True\nbash_app leave failed with unix exit code 9\n1\n",
    "retries": "3\nValueError('no use') 1\n",
    "configuration": "True ['_parsl_internal', 'few', 'threads'] 1 1\nTrue\nTrue\n",
    "pool": "[1, 2, 3, 4] 3\n",
    "executor": "12 Mine(label='mine', size=2)\n",
    "workers": "6 True True plait.compat.parsl a\n",
    "pilots": "3 yes PARSL_WORKER_BLOCK_ID PARSL_WORKER_COUNT PARSL_WORKER_POOL_ID PARSL_WORKER_RANK\n0 ['hello', '0']\n",
    "pilot_failures": "BadStateException [7] True\nTrue False\n",
    "absent": "True\nFalse\n",
}


def run(tmp_path, text, *command):
    (tmp_path / "program.py").write_text(PREAMBLE + textwrap.dedent(text))
    return subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_says_what_it_says_there(name, tmp_path):
    done = run(tmp_path, PROGRAMS[name], "-m", "plait.compat.parsl", "program.py")
    assert (done.stdout, done.returncode) == (EXPECTED[name], 0), done.stderr


def test_removed_parameters_warn_and_nothing_else_is_said(tmp_path):
    done = run(tmp_path, PROGRAMS["configuration"], "-m", "plait.compat.parsl", "program.py")
    assert done.stderr.count("Warning") == 2
    assert run(tmp_path, PROGRAMS["join"], "-m", "plait.compat.parsl", "program.py").stderr == ""


def test_a_program_may_import_it_itself(tmp_path):
    text = "import plait.compat.parsl\n" + PREAMBLE + textwrap.dedent(PROGRAMS["join"])
    (tmp_path / "program.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == EXPECTED["join"], done.stderr


def test_a_module_of_a_program(tmp_path):
    done = run(tmp_path, PROGRAMS["join"], "-m", "plait.compat.parsl", "-m", "program")
    assert done.stdout == EXPECTED["join"], done.stderr


def test_the_command_line(tmp_path):
    done = run(tmp_path, PROGRAMS["join"], "-m", "plait", "run", "--as-parsl", "program.py")
    assert EXPECTED["join"] in done.stdout, done.stderr


def test_pytest_has_it_as_a_plug_in(tmp_path):
    (tmp_path / "test_mine.py").write_text(
        "import parsl\n\ndef test_it():\n    assert parsl.__name__ == 'plait.compat.parsl'\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "plait.compat.parsl",
        "-c",
        "/dev/null",
        "--rootdir",
        str(tmp_path),
        "test_mine.py",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_a_program_that_fails_shows_its_own_traceback(tmp_path):
    done = run(tmp_path, "raise ValueError('mine')", "-m", "plait.compat.parsl", "program.py")
    assert done.returncode == 1
    assert 'File "program.py", line 3' in done.stderr
    assert done.stderr.endswith("ValueError: mine\n")


def test_the_differences_are_written_down():
    page = (ROOT / "docs" / "reference" / "differences-from-parsl.md").read_text()
    for word in ("max_losses", "cancel", "checkpoint", "HighThroughputExecutor", "id_for_memo"):
        assert word in page
