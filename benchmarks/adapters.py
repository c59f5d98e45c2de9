"""One small class per library: start it, turn a function into something that is called and returns a handle, stop it.

To add a library, subclass `Adapter` and add it to `ADAPTERS`. Libraries are imported when they are started, never
before, so that this module costs nothing in the cold-start measurement.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from benchmarks import tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Handle: TypeAlias = Any
"""What a library returns for a submitted task: mostly a future, an object reference with Ray."""


class Adapter:
    """How the harness talks to one library."""

    title: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    """Importable names, any one of which will do; empty for the standard library."""
    import_statement: ClassVar[str]
    """What a user writes to get the library: timed by the cold-start workload."""
    knows_dependencies: ClassVar[bool] = False
    """Handles may be passed as arguments; otherwise the harness drives the graph by hand, through callbacks."""
    for_batches: ClassVar[bool] = False
    """Of interest only where one batch of equal tasks is submitted: the other workloads leave it out."""
    blocking: ClassVar[bool] = False
    """`submit_many` returns when all is done and gives no handles."""
    most_tasks: ClassVar[int] = sys.maxsize
    """Slow libraries get fewer tasks, so that a run ends in a reasonable time; the record says how many."""

    def start(self, workers: int) -> None:
        """Start `workers` workers."""
        raise NotImplementedError

    def app(self, function: Callable[..., object]) -> Callable[..., Handle]:
        """Return what submits one call of `function` and returns its handle."""
        raise NotImplementedError

    def result(self, handle: Handle) -> Any:
        """Wait for one task and return its result."""
        return handle.result()

    def wait(self, handles: Sequence[Handle]) -> None:
        """Wait for all tasks; an error of any of them is raised."""
        for handle in handles:
            self.result(handle)

    def submit_many(self, function: Callable[..., object], count: int) -> list[Handle]:
        """Submit `count` calls without arguments."""
        app = self.app(function)
        return [app() for _ in range(count)]

    def when_done(self, handle: Handle, callback: Callable[[Handle], object]) -> None:
        """Call back when a task has ended."""
        handle.add_done_callback(callback)

    def shell(self) -> Callable[[], Handle]:
        """Return what submits one shell command `true`; by hand unless the library has shell tasks."""
        return self.app(tasks.run_true)

    def stop(self) -> None:
        """Stop the workers."""
        raise NotImplementedError


# ---------------------------------------------------------------------------------------------- standard library


class FutureExecutor(Adapter):
    """Anything that looks like `concurrent.futures.Executor`."""

    pool: Any

    def app(self, function: Callable[..., object]) -> Callable[..., Handle]:
        """Bind the function to `submit`."""
        submit = self.pool.submit
        return lambda *arguments: submit(function, *arguments)

    def stop(self) -> None:
        """Shut the pool down."""
        self.pool.shutdown()


class StandardProcesses(FutureExecutor):
    """`concurrent.futures.ProcessPoolExecutor`, the baseline of nearly everything."""

    title = "stdlib ProcessPoolExecutor"
    import_statement = "import concurrent.futures.process, cloudpickle"

    def start(self, workers: int) -> None:
        """Start the pool."""
        from concurrent.futures import ProcessPoolExecutor

        self.pool = ProcessPoolExecutor(workers)


class StandardProcessesMap(StandardProcesses):
    """`ProcessPoolExecutor.map` with a chunk size: no future per task."""

    title = "stdlib ProcessPoolExecutor.map(chunksize=500)"
    for_batches = True
    blocking = True

    def submit_many(self, function: Callable[..., object], count: int) -> list[Handle]:
        """Map in chunks of up to 500, at least eight of them."""
        list(self.pool.map(function, range(count), chunksize=max(1, min(500, count // 8))))
        return []


class StandardThreads(FutureExecutor):
    """`concurrent.futures.ThreadPoolExecutor`, the baseline of plait's threads."""

    title = "stdlib ThreadPoolExecutor"
    import_statement = "import concurrent.futures.thread"

    def start(self, workers: int) -> None:
        """Start the pool."""
        from concurrent.futures import ThreadPoolExecutor

        self.pool = ThreadPoolExecutor(workers)


# ---------------------------------------------------------------------------------------------- plait


class _Dataflow(Adapter):
    """What plait and Parsl share: `load` a configuration, decorate functions, call them."""

    packages: ClassVar[tuple[str, ...]]
    knows_dependencies = True
    lib: Any
    kernel: Any
    directory: Any

    def start(self, workers: int) -> None:
        """Load a configuration with one executor, in a temporary run directory."""
        import tempfile

        self.lib = importlib.import_module(self.packages[0])
        self.directory = tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True)
        self.apps: dict[Callable[..., object], Callable[..., Handle]] = {}
        self.kernel = self.lib.load(self.config(workers))

    def config(self, workers: int) -> Any:
        """Return the configuration to load."""
        raise NotImplementedError

    def app(self, function: Callable[..., object]) -> Callable[..., Handle]:
        """Decorate the function, once."""
        if function not in self.apps:
            self.apps[function] = self.lib.python_app(function)
        return self.apps[function]

    def shell(self) -> Callable[[], Handle]:
        """Return the bash app `true`."""
        app: Callable[[], Handle] = self.lib.bash_app(tasks.true_command)
        return app

    def stop(self) -> None:
        """End the run and remove its directory."""
        self.kernel.cleanup()
        self.directory.cleanup()


class PlaitProcesses(_Dataflow):
    """plait on its process executor, as a user gets it: journal on, logging on."""

    title = "plait processes"
    packages = ("plait",)
    import_statement = "import plait"

    def config(self, workers: int) -> Any:
        """One process executor."""
        return self._configure(self.lib.ProcessPoolExecutor(max_workers=workers))

    def _configure(self, executor: object) -> Any:
        return self.lib.Config(executors=[executor], run_dir=self.directory.name, progress=False)


class PlaitMap(PlaitProcesses):
    """`plait.map`: the same executor, submitted as one batch."""

    title = "plait.map on processes"
    for_batches = True

    def submit_many(self, function: Callable[..., object], count: int) -> list[Handle]:
        """Submit the batch."""
        handles: list[Handle] = self.lib.map(self.app(function), range(count))
        return handles


class PlaitThreads(PlaitProcesses):
    """plait on its thread executor."""

    title = "plait threads"

    def config(self, workers: int) -> Any:
        """One thread executor."""
        return self._configure(self.lib.ThreadPoolExecutor(max_threads=workers))


class PlaitPilotJobs(PlaitProcesses):
    """plait on its pilot-job executor with local blocks, default settings: encrypted.

    More than 16 workers come as four managers, so that there is something to place.
    """

    title = "plait HighThroughputExecutor"
    encrypted: ClassVar[bool] = True

    def config(self, workers: int) -> Any:
        """One executor; its blocks are there from the start."""
        blocks = 4 if workers > 16 else 1
        each = workers // blocks
        cores = len(os.sched_getaffinity(0))
        provider = importlib.import_module("plait.providers").LocalProvider(
            init_blocks=blocks, min_blocks=blocks, max_blocks=blocks
        )
        return self._configure(
            self.lib.HighThroughputExecutor(
                label="htex",
                address="127.0.0.1",
                max_workers_per_node=each,
                cores_per_worker=min(1, cores / each),
                provider=provider,
                encrypted=self.encrypted,
            )
        )


class PlaitPilotJobsOpen(PlaitPilotJobs):
    """The same without encryption: what that costs."""

    title = "plait HighThroughputExecutor(encrypted=False)"
    encrypted = False


# ---------------------------------------------------------------------------------------------- other libraries


class Loky(FutureExecutor):
    """loky, alone or as shipped inside joblib."""

    title = "loky"
    packages = ("loky", "joblib")
    import_statement = "import loky"

    def start(self, workers: int) -> None:
        """Start the pool, without its idle timeout."""
        name = "loky" if importlib.util.find_spec("loky") else "joblib.externals.loky"
        self.pool = importlib.import_module(name).ProcessPoolExecutor(workers, timeout=None)


class Joblib(Adapter):
    """`joblib.Parallel` with its default backend: batches only."""

    title = "joblib.Parallel"
    packages = ("joblib",)
    import_statement = "import joblib"
    for_batches = True
    blocking = True
    lib: Any
    parallel: Any

    def start(self, workers: int) -> None:
        """Enter the pool's context, so that it is kept between batches."""
        self.lib = importlib.import_module("joblib")
        self.parallel = self.lib.Parallel(n_jobs=workers)
        self.parallel.__enter__()

    def submit_many(self, function: Callable[..., object], count: int) -> list[Handle]:
        """Run a batch of delayed calls."""
        delayed = self.lib.delayed(function)
        self.parallel(delayed() for _ in range(count))
        return []

    def stop(self) -> None:
        """Leave the context and end the reusable workers."""
        self.parallel.__exit__(None, None, None)
        loky = importlib.import_module("joblib.externals.loky")
        loky.get_reusable_executor().shutdown(wait=True, kill_workers=True)


class Dask(Adapter):
    """dask.distributed with a local cluster of single-threaded worker processes."""

    title = "Dask distributed"
    packages = ("distributed",)
    import_statement = "import distributed"
    knows_dependencies = True
    most_tasks = 2_000
    client: Any

    def start(self, workers: int) -> None:
        """Start the local cluster and its client."""
        distributed = importlib.import_module("distributed")
        self.client = distributed.Client(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs="ERROR"
        )
        self.client.wait_for_workers(workers)

    def app(self, function: Callable[..., object]) -> Callable[..., Handle]:
        """Submit as impure, so that equal calls are not merged."""
        submit = self.client.submit
        return lambda *arguments: submit(function, *arguments, pure=False)

    def wait(self, handles: Sequence[Handle]) -> None:
        """Gather all at once."""
        self.client.gather(handles)

    def stop(self) -> None:
        """Close the client; it owns the cluster."""
        self.client.close()


class Ray(Adapter):
    """Ray on this machine, without its dashboard."""

    title = "Ray"
    packages = ("ray",)
    import_statement = "import ray"
    knows_dependencies = True
    most_tasks = 5_000
    lib: Any

    def start(self, workers: int) -> None:
        """Start a local Ray with as many CPUs as workers."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        self.lib = importlib.import_module("ray")
        self.lib.init(num_cpus=workers, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
        self.apps: dict[Callable[..., object], Callable[..., Handle]] = {}

    def app(self, function: Callable[..., object]) -> Callable[..., Handle]:
        """Make the function remote, once."""
        if function not in self.apps:
            self.apps[function] = self.lib.remote(function).remote
        return self.apps[function]

    def result(self, handle: Handle) -> Any:
        """Get one object."""
        return self.lib.get(handle)

    def wait(self, handles: Sequence[Handle]) -> None:
        """Get all objects at once."""
        self.lib.get(list(handles))

    def stop(self) -> None:
        """Stop the local Ray."""
        self.lib.shutdown()


class ParslThreads(_Dataflow):
    """Parsl on its thread executor, default settings."""

    title = "Parsl threads"
    packages = ("parsl",)
    import_statement = "import parsl"
    most_tasks = 5_000

    def config(self, workers: int) -> Any:
        """One thread executor."""
        executors = importlib.import_module("parsl.executors")
        return self._configure(executors.ThreadPoolExecutor(max_threads=workers))

    def _configure(self, executor: object) -> Any:
        return importlib.import_module("parsl.config").Config(executors=[executor], run_dir=self.directory.name)


class ParslHighThroughput(ParslThreads):
    """Parsl on its pilot-job executor with one local block, default settings."""

    title = "Parsl HighThroughputExecutor"
    most_tasks = 2_000

    def config(self, workers: int) -> Any:
        """One executor with one local block that is there from the start."""
        executors = importlib.import_module("parsl.executors")
        provider = importlib.import_module("parsl.providers").LocalProvider(init_blocks=1, max_blocks=1)
        cores = len(os.sched_getaffinity(0))
        return self._configure(
            executors.HighThroughputExecutor(
                label="htex",
                address="127.0.0.1",
                max_workers_per_node=workers,
                cores_per_worker=min(1, cores / workers),
                provider=provider,
            )
        )


ADAPTERS: dict[str, type[Adapter]] = {
    "ppe": StandardProcesses,
    "plait-processes": PlaitProcesses,
    "tpe": StandardThreads,
    "plait-threads": PlaitThreads,
    "plait-map": PlaitMap,
    "plait-htex": PlaitPilotJobs,
    "plait-htex-open": PlaitPilotJobsOpen,
    "ppe-map": StandardProcessesMap,
    "loky": Loky,
    "joblib": Joblib,
    "dask": Dask,
    "ray": Ray,
    "parsl-threads": ParslThreads,
    "parsl-htex": ParslHighThroughput,
}


def installed(adapter: type[Adapter]) -> bool:
    """Say whether the library can be imported by this interpreter."""
    return not adapter.packages or any(importlib.util.find_spec(name) for name in adapter.packages)


def version(adapter: type[Adapter]) -> str:
    """Return the version of the library, empty if it runs from a source tree; of Python for the standard library."""
    from importlib import metadata

    if not adapter.packages:
        return sys.version.split()[0]
    found = {name for name in adapter.packages if importlib.util.find_spec(name)}
    distributions = metadata.packages_distributions()
    return ", ".join(metadata.version(distributions[name][0]) for name in sorted(found) if name in distributions)
