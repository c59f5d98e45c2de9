"""What the two helper processes are told at their start.

The interchange reads its settings from standard input. A manager reads them from a file of mode 0600 in the run's folder, written when its block
is requested, or from standard input (``-``). Both hold secrets: they are never in arguments, environments or logs.
"""

from __future__ import annotations

import msgspec


class InterchangeSettings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """For `interchange.py`.

    Attributes:
        label: of the executor.
        run_id: of the run.
        bind: addresses to listen on for managers.
        port: a fixed port; None for any in `port_range`.
        port_range: first, and the one after the last.
        server_public, server_secret: CURVE keys (Z85); empty without encryption, which only loopback allows.
        heartbeat_period_s, heartbeat_threshold_s: as the executor's.
        cores_per_worker: cores of a plain task.
        memory_per_worker: bytes of memory of a plain task; 0 when not counted.
        policy: the placement policy, pickled by the driver for `serialize`; empty for the default.
        packs: whether the default is the one that empties blocks.
        expected: after a restart: managers that earlier lives knew, which may come back.
        epoch: names this life.
        max_result_bytes: larger results are refused; 0 for no limit.
        log: path of the log; empty for none.
        debug: whether it says much.
        python: the driver's version of Python, to compare managers with; empty for whatever comes.
        path: the driver's ``sys.path``, on which the policy's modules are; empty without one.
        near: the socket for managers on this host (`near`); empty for none.
        near_secret: what their tokens are made with.
    """

    label: str
    run_id: str
    bind: list[str]
    port: int | None
    port_range: tuple[int, int]
    server_public: str
    server_secret: str
    heartbeat_period_s: float
    heartbeat_threshold_s: float
    cores_per_worker: float
    memory_per_worker: int
    policy: bytes
    packs: bool
    expected: list[str]
    epoch: str
    max_result_bytes: int = 0
    log: str = ""
    debug: bool = False
    python: str = ""
    path: list[str] = []
    near: str = ""
    near_secret: str = ""


class ManagerSettings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """For `manager.py`.

    Attributes:
        label, run_id, block: whom it works for.
        addresses, port: where the interchange may be reached; the first that answers is used.
        server_public: the interchange's CURVE key (Z85); empty without encryption.
        public, secret: the block's own keys.
        probe_timeout_s: seconds in which an address must answer.
        heartbeat_threshold_s: as the executor's; counts until the interchange has told its own.
        max_workers, cores_per_worker, mem_per_worker_gb: what the number of workers follows from; None for no limit.
        cpu_affinity: ``none``, ``block``, ``block-reverse``, ``alternating`` or ``list:…``.
        accelerators: names of accelerators, one worker each.
        prefetch: plain tasks beyond one for each worker.
        drain_after_s: seconds after which it drains; None for never.
        walltime_s: seconds that the block lasts from the manager's start; None when not known.
        path: ``sys.path`` for workers.
        cwd: directory of workers; empty for the manager's own.
        log_dir: for logs of the manager and the output of its workers; empty for none.
        env: variables for workers; None removes one.
        preload: modules to import before workers are forked.
        debug: whether it says much.
        initializer: what each worker calls before its first task, pickled for `pool.worker`; empty for nothing.
        max_tasks: a worker is replaced after so many; 0 for never.
        mpi_launcher: what starts the processes of tasks over whole nodes, of `mpi_prefix.LAUNCHERS`.
        gives_nodes: whether it speaks for all nodes of its block, and gives them to tasks.
        packages: those that the driver has imported, with their versions.
        near: the interchange's socket for managers on its host (`near`); empty for none.
        near_host: that host.
        near_token: what the block's managers show there.
    """

    label: str
    run_id: str
    block: str
    addresses: list[str]
    port: int
    server_public: str
    public: str
    secret: str
    probe_timeout_s: float
    max_workers: int | None
    cores_per_worker: float
    mem_per_worker_gb: float | None
    cpu_affinity: str
    accelerators: list[str]
    prefetch: int
    drain_after_s: float | None
    walltime_s: float | None
    path: list[str]
    cwd: str
    log_dir: str
    heartbeat_threshold_s: float = 120.0
    env: dict[str, str | None] = {}
    preload: list[str] = []
    debug: bool = False
    initializer: bytes = b""
    max_tasks: int = 0
    mpi_launcher: str = "mpiexec"
    gives_nodes: bool = False
    packages: dict[str, str] = {}
    near: str = ""
    near_host: str = ""
    near_token: str = ""
