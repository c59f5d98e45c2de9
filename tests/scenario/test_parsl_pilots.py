"""What users of Parsl rely on in pilot jobs, feature by feature, through its own import paths.

Each row of the table is a feature in our words; the function below it that bears its name shows it. Rows without a function fail.
"""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
from concurrent.futures import wait

import psutil
import pytest

import plait.compat.parsl  # noqa: F401 - from here on `parsl` is it
from tests.leaks import descendants
from tests.support import wait_until

import parsl  # isort: skip
from parsl import python_app  # isort: skip
from parsl.concurrent import ParslPoolExecutor  # isort: skip
from parsl.config import Config  # isort: skip
from parsl.executors import HighThroughputExecutor  # isort: skip
from parsl.executors.errors import BadStateException, InvalidResourceSpecification  # isort: skip
from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost  # isort: skip
from parsl.executors.high_throughput.manager_selector import BlockIdManagerSelector  # isort: skip
from parsl.jobs.errors import TooManyJobFailuresError  # isort: skip
from parsl.jobs.states import JobState, JobStatus  # isort: skip
from parsl.launchers import SimpleLauncher, SingleNodeLauncher, WrappedLauncher  # isort: skip
from parsl.launchers.base import Launcher  # isort: skip
from parsl.logconfigs.json import JSONLogging  # isort: skip
from parsl.providers import LocalProvider  # isort: skip
from parsl.providers.base import ExecutionProvider  # isort: skip
from parsl.serialize import pack_apply_message  # isort: skip
from parsl.serialize.errors import DeserializationError, SerializationError  # isort: skip

TABLE = """
htex     | remote_execution      | tasks run in other processes, as many at once as there are workers, and know where they are
htex     | affinity              | cores are divided among the workers, and OpenMP is told
htex     | accelerators          | each worker sees its own; the number of workers follows
htex     | priority              | lower numbers first
htex     | unknown_keys          | a specification with a key that nobody knows fails the task
htex     | keys_in_environment   | a specification is in the task's environment, and not in the next one's
htex     | selectors             | blocks are filled one after another
htex     | worker_loss           | WorkerLost, and the work goes on
htex     | manager_loss          | ManagerLost, and the work goes on in another block
htex     | interchange_loss      | tasks end all the same
htex     | what_cannot_be_sent   | an argument, a result or an error that cannot be sent fails its own task
htex     | unencrypted           | encrypted=False works on loopback
htex     | ipv6                  | address="::1"
htex     | ports                 | a fixed port, or one of the range
htex     | drain_period          | a manager leaves when its time is over; nothing is lost
htex     | payloads              | bytes of a call go to a function of a dotted name
htex     | logs                  | the folder of the executor has the interchange's, the managers' and the workers' logs
htex     | log_config            | logging of one's own shows the run
htex     | cancel                | a running task ends
htex     | staying_idle          | the run dir's settings files are private, and gone at the end
scaling  | init_blocks           | requested at once
scaling  | no_block_at_first     | one comes with the first task, with parallelism 0 too
scaling  | min_blocks            | a block that ended is replaced
scaling  | idle_blocks           | given back after max_idletime
scaling  | by_hand               | scale_out_facade, scale_in_facade; busy blocks stay when only idle ones may go
scaling  | missing               | a block that ends without a manager is MISSING, and enough of them end the executor
scaling  | bad_state             | a handler gives the executor up; its tasks fail with BadStateException
scaling  | end_of_run            | no process is left
launchers| all                   | those that are there start managers
launchers| of_ones_own           | a launcher of three parameters, as programs that were written long ago have it
providers| of_ones_own           | a provider derived from the base class, whose jobs have numbers for names
pool     | over_pilots           | the executor of the standard library's kind, over blocks
executors| twice                 | one configuration serves one run after another
"""
#: Seconds that anything may take on a machine that has much else to do.
WAIT_S = 90
ROWS = [tuple(cell.strip() for cell in line.split("|")) for line in TABLE.strip().splitlines()]


def pilots(provider=None, strategy="none", label="htex", **options):
    """A configuration with one executor, and it."""
    provider = provider or LocalProvider(launcher=SimpleLauncher())
    options.setdefault("max_workers_per_node", 2)
    executor = HighThroughputExecutor(label=label, provider=provider, **options)
    return executor, Config(executors=[executor], strategy=strategy, strategy_period=0.1, initialize_logging=False)


@pytest.mark.parametrize(("area", "feature", "meaning"), ROWS, ids=[f"{row[0]}-{row[1]}" for row in ROWS])
def test_feature(area, feature, meaning, tmp_path):
    globals()[f"{area}_{feature}"](tmp_path)


def test_each_function_has_its_row():
    areas = {row[0] for row in ROWS}
    functions = {name for name in globals() if name.partition("_")[0] in areas}
    assert functions == {f"{area}_{feature}" for area, feature, _ in ROWS}


@python_app
def look(*names):
    import os

    return os.getpid(), {name: os.environ.get(name) for name in names}, sorted(os.sched_getaffinity(0))


@python_app
def both_at_once(folder, mine, other):
    """Ends when both run."""
    import os
    import time

    open(os.path.join(folder, mine), "w").close()
    while not os.path.exists(os.path.join(folder, other)):
        time.sleep(0.002)
    return os.environ["PARSL_WORKER_RANK"], sorted(os.sched_getaffinity(0)), dict(os.environ)


@python_app
def until(path):
    """Ends when the file is there."""
    import os
    import time

    open(path + ".begun", "w").close()
    while not os.path.exists(path):
        time.sleep(0.002)
    return "done"


@python_app
def write(path, text, parsl_resource_specification={}):  # noqa: B006 - as users write it
    with open(path, "a") as file:
        file.write(text)


@python_app
def die():
    import os

    os._exit(3)


def pair(folder):
    """What two tasks that run at the same time say."""
    one, two = (both_at_once(str(folder), *names) for names in (("a", "b"), ("b", "a")))
    return sorted((one.result(WAIT_S), two.result(WAIT_S)), key=lambda each: each[0])


def of_managers(executor):
    """Processes of the managers."""
    return [manager["pid"] for manager in executor.connected_managers()]


def below():
    """Living processes below this one."""
    return [psutil.Process(pid) for pid in descendants()]


# ------------------------------------------------------------------ executor
def htex_remote_execution(tmp_path):
    executor, config = pilots()
    with parsl.load(config):
        one, two = pair(tmp_path)
        assert (one[0], two[0]) == ("0", "1")
        pid, environment, _ = look("PARSL_WORKER_COUNT", "PARSL_WORKER_BLOCK_ID", "PARSL_WORKER_POOL_ID").result(WAIT_S)
        assert pid != os.getpid()
        assert environment["PARSL_WORKER_COUNT"] == "2"
        assert environment["PARSL_WORKER_BLOCK_ID"] == "0"
        assert environment["PARSL_WORKER_POOL_ID"] == executor.connected_managers()[0]["manager"]


def htex_affinity(tmp_path):
    mine = sorted(os.sched_getaffinity(0))
    for affinity, rank in (("block", 0), ("block-reverse", 1)):
        _, config = pilots(cpu_affinity=affinity)
        folder = tmp_path / affinity
        folder.mkdir()
        with parsl.load(config):
            said = pair(folder)
        cores = [each[1] for each in said]
        assert sorted(core for each in cores for core in each) == mine
        assert cores[rank][0] == mine[0]
        assert said[0][2]["OMP_NUM_THREADS"] == str(len(cores[0]))
        assert str(cores[0][0]) in said[0][2]["KMP_AFFINITY"]
        assert said[0][2]["GOMP_CPU_AFFINITY"].split()[0] == str(cores[0][0])


def htex_accelerators(tmp_path):
    executor, config = pilots(available_accelerators=["3", "5"], max_workers_per_node=8, cores_per_worker=0.1)
    with parsl.load(config):
        one, two = pair(tmp_path)
        assert {one[2]["CUDA_VISIBLE_DEVICES"], two[2]["CUDA_VISIBLE_DEVICES"]} == {"3", "5"}
        assert {one[2]["ROCR_VISIBLE_DEVICES"], two[2]["ROCR_VISIBLE_DEVICES"]} == {"3", "5"}
        assert {one[2]["ZE_AFFINITY_MASK"], two[2]["ZE_AFFINITY_MASK"]} == {"3", "5"}
        assert executor.connected_managers()[0]["worker_count"] == 2


def htex_priority(tmp_path):
    executor, config = pilots(max_workers_per_node=1)
    with parsl.load(config):
        gate = until(str(tmp_path / "gate"))
        wait_until((tmp_path / "gate.begun").exists, WAIT_S)
        log = str(tmp_path / "log")
        futures = [write(log, str(n), parsl_resource_specification={"priority": n}) for n in (3, 1, 2)]
        for _ in range(2):  # the second question is behind the tasks on the way to the interchange
            executor.connected_managers()
        (tmp_path / "gate").touch()
        wait([gate, *futures], WAIT_S)
    assert (tmp_path / "log").read_text() == "123"


def htex_unknown_keys(_):
    _, config = pilots(LocalProvider(init_blocks=0, max_blocks=0))
    with parsl.load(config):
        error = write("x", "y", parsl_resource_specification={"num_moons": 2}).exception(WAIT_S)
        assert isinstance(error, InvalidResourceSpecification)
        assert error.invalid_keys == ["num_moons"]


def htex_keys_in_environment(_):
    @python_app
    def key(parsl_resource_specification={}):  # noqa: B006 - as users write it
        import os

        return os.environ.get("PARSL_PRIORITY")

    _, config = pilots(max_workers_per_node=1)
    with parsl.load(config):
        assert key(parsl_resource_specification={"priority": 7}).result(WAIT_S) == "7"
        assert key().result(WAIT_S) is None


def htex_selectors(tmp_path):
    provider = LocalProvider(init_blocks=2, max_blocks=2, launcher=SimpleLauncher())
    executor, config = pilots(provider, manager_selector=BlockIdManagerSelector())
    with parsl.load(config):
        wait_until(lambda: len(executor.connected_managers()) == 2, WAIT_S)
        for n in range(3):
            futures = [until(str(tmp_path / f"{n}{m}")) for m in range(2)]
            wait_until(lambda n=n: all((tmp_path / f"{n}{m}.begun").exists() for m in range(2)), WAIT_S)
            busy = {manager["block_id"]: manager["tasks"] for manager in executor.connected_managers()}
            assert busy == {"0": 2, "1": 0}
            for m in range(2):
                (tmp_path / f"{n}{m}").touch()
            wait(futures, WAIT_S)


def htex_worker_loss(_):
    _, config = pilots(max_workers_per_node=1)
    with parsl.load(config):
        lost = die().exception(WAIT_S)
        assert isinstance(lost, WorkerLost)
        assert not isinstance(lost, ManagerLost)
        assert look().result(WAIT_S)[0] > 0


def htex_manager_loss(tmp_path):
    executor, config = pilots(heartbeat_period=0.5, heartbeat_threshold=2)
    with parsl.load(config):
        future = until(str(tmp_path / "never"))
        wait_until((tmp_path / "never.begun").exists, WAIT_S)
        (pid,) = of_managers(executor)
        os.kill(pid, signal.SIGKILL)
        assert isinstance(future.exception(WAIT_S), ManagerLost)
        assert look().result(WAIT_S)[1] == {}


def htex_interchange_loss(tmp_path):
    _, config = pilots()
    with parsl.load(config):
        running = until(str(tmp_path / "gate"))
        wait_until((tmp_path / "gate.begun").exists, WAIT_S)
        (interchange,) = [each for each in below() if "interchange" in " ".join(each.cmdline())]
        interchange.kill()
        later = look()
        (tmp_path / "gate").touch()
        assert running.result(WAIT_S) == "done"
        assert later.result(WAIT_S)[0] > 0


def htex_what_cannot_be_sent(_):
    class Stubborn:
        """It can be sent, and does not arrive."""

        def __reduce__(self):
            return int, ("x",)

    @python_app
    def generator():
        return (n for n in range(3))

    @python_app
    def stubborn(thing):
        return thing()

    _, config = pilots()
    with parsl.load(config):
        assert isinstance(look(n for n in range(3)).exception(WAIT_S), SerializationError)
        assert isinstance(generator().exception(WAIT_S), SerializationError)
        assert isinstance(stubborn(Stubborn).exception(WAIT_S), DeserializationError)
        assert look().result(WAIT_S)[0] > 0


def htex_unencrypted(_):
    _, config = pilots(encrypted=False)
    with parsl.load(config):
        assert look().result(WAIT_S)[0] > 0


def htex_ipv6(_):
    _, config = pilots(address="::1")
    with parsl.load(config):
        assert look().result(WAIT_S)[0] > 0


def htex_ports(_):
    def listening():
        return {
            connection.laddr.port
            for process in below()
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }

    others = listening()  # what other tests share for the whole session
    _, config = pilots(worker_port_range=(54321, 54341))
    with parsl.load(config):
        look().result(WAIT_S)
        (found,) = listening() - others
        assert 54321 <= found < 54341
    _, config = pilots(worker_port=found)
    with parsl.load(config):
        look().result(WAIT_S)
        assert listening() - others == {found}


def htex_drain_period(tmp_path):
    executor, config = pilots(drain_period=1, strategy="simple")
    with parsl.load(config):
        future = until(str(tmp_path / "gate"))
        wait_until(lambda: any(manager["draining"] for manager in executor.connected_managers()), WAIT_S)
        (tmp_path / "gate").touch()
        assert future.result(WAIT_S) == "done"
        first = executor.connected_blocks()
        assert look().result(WAIT_S)[0] > 0
        assert len(executor.connected_blocks()) > len(first) >= 1


def htex_payloads(_):
    executor, config = pilots()
    with parsl.load(config):
        call = pack_apply_message(pow, (2, 6), {})
        assert executor.submit_payload({}, call).result(WAIT_S) == 64
        context = {"resource_spec": {"priority": 1}, "task_executor": {"f": "builtins.len", "a": (), "k": {}}}
        assert executor.submit_payload(context, call).result(WAIT_S) == len(call)


def htex_logs(tmp_path):
    provider = LocalProvider(launcher=SimpleLauncher())
    executor = HighThroughputExecutor(label="htex", provider=provider, max_workers_per_node=1)

    @python_app
    def speak():
        print("hello from the worker", flush=True)

    with parsl.load(Config(executors=[executor], strategy="none", run_dir=str(tmp_path / "runs"))) as kernel:
        speak().result(WAIT_S)
        assert executor.logdir == os.path.join(kernel.run_dir, "htex")
        (manager,) = executor.connected_managers()
        of_block = pathlib.Path(executor.logdir, f"block-{manager['block_id']}", manager["manager"])
    assert {"manager.log", "worker_0.log"} <= {path.name for path in of_block.iterdir()}
    paths = [os.path.join(folder, name) for folder, _, names in os.walk(executor.logdir) for name in names]
    names = {os.path.basename(path) for path in paths}
    assert "interchange.log" in names
    assert "manager.log" in names
    assert any("block-0" in path for path in paths)
    assert any("hello from the worker" in pathlib.Path(path).read_text() for path in paths if "worker_" in path)


def htex_log_config(tmp_path):
    executor, _ = pilots()
    config = Config(
        executors=[executor], strategy="none", run_dir=str(tmp_path / "runs"), initialize_logging=JSONLogging()
    )
    with parsl.load(config) as kernel:
        look().result(WAIT_S)
        assert os.path.isfile(os.path.join(kernel.run_dir, "parsl.jsonlog"))


def htex_cancel(tmp_path):
    executor, config = pilots()
    with parsl.load(config):
        future = until(str(tmp_path / "never"))
        wait_until((tmp_path / "never.begun").exists, WAIT_S)
        assert future.cancel()
        wait_until(lambda: all(manager["tasks"] == 0 for manager in executor.connected_managers()), WAIT_S)
        assert executor.outstanding() == 0


def htex_staying_idle(tmp_path):
    executor, _ = pilots()
    with parsl.load(Config(executors=[executor], strategy="none", run_dir=str(tmp_path / "runs"))):
        look().result(WAIT_S)
        folder = os.path.join(executor.logdir, "blocks")
        assert os.stat(folder).st_mode & 0o777 == 0o700
        names = os.listdir(folder)
        assert "0.json" in names
        assert {os.stat(os.path.join(folder, name)).st_mode & 0o777 for name in names} == {0o600}
    assert os.listdir(folder) == []


# ------------------------------------------------------------------ scaling
def scaling_init_blocks(_):
    executor, config = pilots(LocalProvider(init_blocks=2, max_blocks=2, launcher=SimpleLauncher()))
    with parsl.load(config):
        wait_until(lambda: sorted(executor.connected_blocks()) == ["0", "1"], WAIT_S)
        wait_until(lambda: {status.state for status in executor.status().values()} == {JobState.RUNNING}, WAIT_S)


def scaling_no_block_at_first(_):
    provider = LocalProvider(init_blocks=0, max_blocks=3, parallelism=0, launcher=SimpleLauncher())
    executor, config = pilots(provider, strategy="simple")
    with parsl.load(config):
        assert executor.status() == {}
        wait([look() for _ in range(50)], WAIT_S)
        assert executor.connected_blocks() == ["0"]


def scaling_min_blocks(_):
    provider = LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1, launcher=SimpleLauncher())
    executor, config = pilots(provider, strategy="simple")
    with parsl.load(config):
        wait_until(lambda: executor.connected_blocks() == ["0"], WAIT_S)
        (job,) = executor.job_ids_to_block
        provider.cancel([job])
        wait_until(lambda: executor.connected_blocks() == ["0", "1"], WAIT_S)


def scaling_idle_blocks(_):
    executor = HighThroughputExecutor(
        label="htex", max_workers_per_node=1, provider=LocalProvider(launcher=SimpleLauncher())
    )
    config = Config(
        executors=[executor], strategy="simple", strategy_period=0.1, max_idletime=0.3, initialize_logging=False
    )
    with parsl.load(config):
        look().result(WAIT_S)
        wait_until(lambda: executor.status()["0"].state == JobState.SCALED_IN, WAIT_S)
        assert look().result(WAIT_S)[0] > 0  # another one comes


def scaling_by_hand(tmp_path):
    executor, config = pilots(LocalProvider(init_blocks=1, max_blocks=2, launcher=SimpleLauncher()))
    with parsl.load(config):
        future = until(str(tmp_path / "gate"))
        wait_until((tmp_path / "gate.begun").exists, WAIT_S)
        assert executor.scale_out_facade(5) == ["1"]
        wait_until(lambda: len(executor.connected_managers()) == 2, WAIT_S)
        wait_until(lambda: executor.scale_in_facade(2, max_idletime=0.05) == ["1"], WAIT_S)
        wait_until(lambda: executor.status()["1"].state == JobState.SCALED_IN, WAIT_S)
        assert executor.status()["0"].state == JobState.RUNNING
        (tmp_path / "gate").touch()
        assert future.result(WAIT_S) == "done"


def scaling_missing(_):
    executor, config = pilots(launch_cmd="true {config}")
    with parsl.load(config):
        error = look().exception(WAIT_S)
        assert isinstance(error, (BadStateException, TooManyJobFailuresError))
        assert executor.bad_state_is_set
        assert isinstance(executor.executor_exception, TooManyJobFailuresError)
        assert {status.state for status in executor.status().values()} <= {JobState.MISSING, JobState.SCALED_IN}
        assert JobState.MISSING in {status.state for status in executor.status().values()}
        assert isinstance(look().exception(WAIT_S), (BadStateException, TooManyJobFailuresError))


def scaling_bad_state(_):
    def handler(executor, statuses):
        if any(status.state == JobState.FAILED for status in statuses.values()):
            executor.set_bad_state_and_fail_all(ZeroDivisionError("mine"))

    provider = LocalProvider(worker_init="exit 5", launcher=SimpleLauncher())
    executor, config = pilots(provider, block_error_handler=handler)
    with parsl.load(config):
        error = look().exception(WAIT_S)
        assert isinstance(error, BadStateException)
        assert "mine" in str(error)
        assert isinstance(executor.executor_exception, ZeroDivisionError)
        assert executor.status()["0"].exit_code == 5


def scaling_end_of_run(_):
    before = descendants()
    provider = LocalProvider(init_blocks=2, max_blocks=2, launcher=SimpleLauncher())
    executor, config = pilots(provider)
    with parsl.load(config):
        wait([look() for _ in range(4)], WAIT_S)
        wait_until(lambda: len(executor.connected_managers()) == 2, WAIT_S)
        started = of_managers(executor)
    assert descendants() <= before
    assert not descendants() & set(started)
    assert {status.state for status in provider.status(list(provider.resources))} <= {
        JobState.CANCELLED,
        JobState.COMPLETED,
    }


# ------------------------------------------------------------------ launchers
def launchers_all(_):
    for launcher, nodes in ((SingleNodeLauncher(), 2), (WrappedLauncher("env MINE=yes"), 1), (SimpleLauncher(), 1)):
        executor, config = pilots(LocalProvider(launcher=launcher, nodes_per_block=nodes))
        with parsl.load(config):
            assert look("MINE").result(WAIT_S)[1] == {
                "MINE": "yes" if nodes == 1 and hasattr(launcher, "prepend") else None
            }
            wait_until(lambda executor=executor, nodes=nodes: len(executor.connected_managers()) == nodes, WAIT_S)


class Old(Launcher):
    """Written before launchers were told of a folder."""

    def __call__(self, command, tasks_per_node, nodes_per_block):
        return f"export LAUNCHED={tasks_per_node}-{nodes_per_block}; {command}"


def launchers_of_ones_own(_):
    _, config = pilots(LocalProvider(launcher=Old()), address="127.0.0.1")
    with parsl.load(config):
        assert look("LAUNCHED").result(WAIT_S)[1] == {"LAUNCHED": "1-1"}


# ------------------------------------------------------------------ providers
class Numbered(ExecutionProvider):
    """Runs blocks as processes, as a user's provider for a batch system that plait does not know does."""

    def __init__(self, walltime="01:00:00"):
        self.walltime = walltime
        self.nodes_per_block = 1
        self.init_blocks = self.max_blocks = 1
        self.min_blocks = 0
        self.parallelism = 1
        self.resources = {}

    @property
    def label(self):
        return "numbered"

    @property
    def status_polling_interval(self):
        return 0.1

    def submit(self, command, tasks_per_node, job_name="parsl.auto"):
        assert os.path.isdir(self.script_dir)
        process = subprocess.Popen(["bash", "-c", command], start_new_session=True, stdout=subprocess.DEVNULL)
        self.resources[process.pid] = process
        return process.pid

    def status(self, job_ids):
        codes = [self.resources[number].poll() for number in job_ids]
        return [
            JobStatus(JobState.RUNNING if code is None else JobState.COMPLETED if code == 0 else JobState.FAILED)
            for code in codes
        ]

    def cancel(self, job_ids):
        for number in job_ids:
            if self.resources[number].poll() is None:
                os.killpg(number, signal.SIGTERM)
                self.resources[number].wait(30)
        return [True for _ in job_ids]


def providers_of_ones_own(_):
    executor, config = pilots(Numbered())
    with parsl.load(config):
        assert [future.result(WAIT_S)[0] for future in [look() for _ in range(4)]]
        (manager,) = executor.connected_managers()
        assert 3000 < manager["walltime_left_s"] <= 3600
        (number,) = executor.provider.resources
        assert executor.blocks_to_job_id == {"0": str(number)}
    assert executor.provider.resources[number].poll() is not None


# ------------------------------------------------------------------ the pool
def pool_over_pilots(_):
    executor, config = pilots()
    with ParslPoolExecutor(config) as pool:
        assert list(pool.map(pow, [2, 3, 4], [5, 2, 1], timeout=WAIT_S)) == [32, 9, 4]
        assert pool.submit(pow, pool.submit(pow, 2, 3), 2).result(WAIT_S) == 64
        assert pool.app_count == 1
    assert executor.connected_managers() == []


# ------------------------------------------------------------------ executors
def executors_twice(_):
    executor, config = pilots()
    for _ in range(2):
        with parsl.load(config) as kernel:
            assert look().result(WAIT_S)[0] > 0
            assert kernel.executors["htex"] is executor
            assert executor.outstanding() == 0
