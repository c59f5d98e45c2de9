"""Which cores and which accelerator each worker of a node gets, and what workers and tasks find in their environment.

Pure: everything follows from the arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plait.errors import ConfigurationError
from plait.executors.htex.mpi_prefix import variables
from plait.executors.htex.sweep import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plait.executors.htex.messages import Grant

MODES: Final = ("none", "block", "block-reverse", "alternating")


def cpu_sets(mode: str, cpus: Sequence[int], workers: int) -> list[list[int]]:
    """The cores of each worker; empty to bind none. With fewer cores than workers each gets one, shared with others.

    Args:
        mode: ``none``; ``block``: neighbours; ``block-reverse``: neighbours, from the last core on; ``alternating``: dealt out one by one;
            ``list:0,1:2-3``: the cores of each worker, between colons.
        cpus: cores that this process may use.
        workers: how many there are.

    Raises:
        ConfigurationError: the mode is not known, or its list does not fit the node.
    """
    if mode == "none" or not cpus:
        return []
    if mode.startswith("list:"):
        return _listed(mode, cpus, workers)
    if mode not in MODES:
        raise ConfigurationError(f"cpu_affinity={mode!r}: expected {', '.join(MODES)} or a list such as list:0,1:2-3")
    order = list(reversed(cpus)) if mode == "block-reverse" else list(cpus)
    share = len(order) // workers
    if not share:
        return [[order[rank % len(order)]] for rank in range(workers)]
    if mode == "alternating":
        return [order[rank::workers][:share] for rank in range(workers)]
    return [order[rank * share : (rank + 1) * share] for rank in range(workers)]


def _listed(mode: str, cpus: Sequence[int], workers: int) -> list[list[int]]:
    try:
        sets = [_cores(part) for part in mode.removeprefix("list:").split(":")]
    except ValueError:
        raise ConfigurationError(
            f"cpu_affinity={mode!r}: expected numbers and ranges, such as list:0,1:2-3 for two workers"
        ) from None
    if len(sets) != workers:
        raise ConfigurationError(
            f"cpu_affinity={mode!r}: it lists cores for {len(sets)} workers, this node has {workers}"
        )
    unknown = sorted({core for cores in sets for core in cores} - set(cpus))
    if unknown:
        raise ConfigurationError(
            f"cpu_affinity={mode!r}: core {unknown[0]} is not among those that may be used here, {list(cpus)}"
        )
    return sets


def _cores(text: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        found += range(int(first), int(last) + 1) if dash else [int(first)]
    if not found:
        raise ValueError(text)
    return found


def cpu_env(cpus: Sequence[int]) -> dict[str, str]:
    """What tells OpenMP programs which cores they have."""
    return {
        "OMP_NUM_THREADS": str(len(cpus)),
        "GOMP_CPU_AFFINITY": " ".join(map(str, cpus)),
        "KMP_AFFINITY": f"explicit,proclist=[{','.join(map(str, cpus))}]",
    }


def accelerators_of_workers(names: Sequence[str], workers: int, devices: int) -> list[str]:
    """The name of each worker's accelerator.

    Args:
        names: as configured; the worker of each rank has one.
        workers: how many there are, at most as many as names.
        devices: accelerators that were found in the node; 0 when not known. With fewer devices than workers, names that are plain numbers
            count shares rather than devices: neighbouring workers share one.
    """
    if 0 < devices < workers and all(name.isdigit() for name in names[:workers]):
        each = -(-workers // devices)
        return [str(int(name) // each) for name in names[:workers]]
    return list(names[:workers])


def accelerator_env(names: Sequence[str]) -> dict[str, str]:
    """What lets programs see these accelerators only, whoever makes them."""
    visible = ",".join(names)
    return {
        "CUDA_VISIBLE_DEVICES": visible,
        "ROCR_VISIBLE_DEVICES": visible,
        "ZE_AFFINITY_MASK": visible,
        "ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1",
    }


class Dress:
    """What each worker and each task that was granted something finds in its environment, and the cores that it may use.

    Args:
        cpus: cores that this process may use.
        sets: of these, those of each worker (`cpu_sets`).
        accelerators: name of each worker's accelerator; empty to say nothing about them.
        workers: how many there are.
        threads: how many threads a program of a worker that is not bound should start; 0 to say nothing.
        block: that the manager belongs to.
        pool_id: returns the manager's name, which may change.
        launcher: of processes, for tasks over whole nodes.
        env: of the manager.
        gpus: names of the node's accelerators.
        mark: names an attempt, see `sweep`.
    """

    def __init__(
        self,
        *,
        cpus: Sequence[int],
        sets: Sequence[Sequence[int]],
        accelerators: Sequence[str],
        workers: int,
        threads: int,
        block: str,
        pool_id: Callable[[], str],
        launcher: str = "mpiexec",
        env: Mapping[str, str] | None = None,
        gpus: Sequence[str] = (),
        mark: Callable[[int, int], str] | None = None,
    ) -> None:
        self._cpus = cpus
        self._sets = sets
        self._accelerators = accelerators
        self._workers = workers
        self._threads = threads
        self._block = block
        self._pool_id = pool_id
        self._launcher = launcher
        self._env = env or {}
        self._gpus = gpus
        self._mark = mark

    def of_worker(self, rank: int) -> dict[str, str]:
        """Variables of the worker of that rank."""
        facts = {"RANK": rank, "COUNT": self._workers, "POOL_ID": self._pool_id(), "BLOCK_ID": self._block}
        env = {f"{prefix}_WORKER_{name}": str(value) for name, value in facts.items() for prefix in ("PARSL", "PLAIT")}
        if self._sets:
            env.update(cpu_env(self._sets[rank % len(self._sets)]))
        elif self._threads:
            env["OMP_NUM_THREADS"] = str(self._threads)
        if self._accelerators:
            env.update(accelerator_env([self._accelerators[rank % len(self._accelerators)]]))
        return env

    def of_task(self, task: int, attempt: int, grant: Grant) -> tuple[dict[str, str | None], list[int]]:
        """Variables of a task (None: removed), and its cores; none to leave it those of its worker."""
        env: dict[str, str | None] = {"PLAIT_TASK_ID": str(task), "PLAIT_ATTEMPT": str(attempt)}
        if grant.hosts and self._mark is not None:
            env[VARIABLE] = self._mark(task, attempt)
        if grant.hosts:
            return {**env, **self._of_nodes(grant)}, list(self._cpus) if self._sets else []
        if grant.gpus:
            env.update(accelerator_env(grant.gpus))
            env["PLAIT_GPU_IDS"] = ",".join(grant.gpus)
        cores = [self._cpus[index] for index in grant.cores if index < len(self._cpus)]
        if grant.cores:
            env["PLAIT_CORES"] = env["OMP_NUM_THREADS"] = str(len(grant.cores))
        if cores:
            env.update(cpu_env(cores))
        return env, cores

    def _of_nodes(self, grant: Grant) -> dict[str, str | None]:
        """For a task over whole nodes: what its worker is bound to binds none of its processes."""
        env = variables(self._launcher, grant, self._env)
        if self._sets:
            env.update(dict.fromkeys(cpu_env(()), None))
        if self._sets or self._threads:
            cores = len(self._cpus) or self._threads * self._workers
            env["OMP_NUM_THREADS"] = str(max(1, cores // max(1, grant.ranks_per_node)))
        if self._accelerators:
            env.update(accelerator_env(list(dict.fromkeys(self._gpus or self._accelerators))))
        return env
