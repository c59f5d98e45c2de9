"""The manager of a node: a worker pool with a network cable.

```
python -m plait.executors.htex.manager <settings file, or - for standard input>

        TCP, encrypted                 socket pairs and pages
interchange ◀────▶ manager: one thread ◀────▶ worker 0 … n        one task at a time each
                      │                          ▲
                      └──────▶ zygote ───forks───┘                 ends them all when the manager is gone, however it went
```

One thread serves the link to the interchange (`uplink`) and the pool. The zygote is started, by exec, before the interchange is dialled:
both take time. What the manager knows of keys is in its memory alone: neither arguments, environment, descriptors nor memory of zygote and
workers have them.

It ends, with everything below it: when it is told to; on SIGTERM, which batch systems send before they kill; when the interchange refuses it, or is
silent for longer than its threshold; when no worker can be started. Exit status 0 says that this was in order; otherwise standard error has the reason.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

from plait.executors.pool.egg import (
    lay,
)  # all that is needed to start a zygote: the rest is loaded while that loads its modules

if TYPE_CHECKING:
    from plait.executors.htex.link import Dealer
    from plait.executors.htex.log import Log
    from plait.executors.htex.near import NearDealer
    from plait.executors.htex.node import Node
    from plait.executors.htex.outbox import Attempt
    from plait.executors.htex.settings import ManagerSettings
    from plait.executors.htex.uplink import Uplink
    from plait.executors.pool.egg import Egg
    from plait.executors.pool.link import PoolLink

#: Seconds that tasks have to end by themselves when the manager ends, and those in which all must be over.
GRACE_S: Final = 1.0
STOP_S: Final = 1.6
#: Seconds after which nobody will listen any more where nobody does: the driver is gone. An interchange that died comes back sooner.
REFUSED_S: Final = 3.0


def read(source: str) -> bytes:
    """The settings, not looked at yet. Standard input, ``-``, leads nowhere after that.

    Raises:
        OSError: the file cannot be read.
    """
    if source != "-":
        with open(source, "rb") as file:
            return file.read()
    with open(0, "rb", closefd=False) as file:
        data = file.read()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return data


def environment(data: bytes) -> dict[str, str]:
    """The variables of workers, by the settings. Of these nothing else is looked at yet.

    Raises:
        ValueError: they cannot be read.
    """
    told = json.loads(data)
    wanted = told.get("env", {}) if isinstance(told, dict) else {}
    return {name: value for name, value in {**os.environ, **wanted}.items() if value is not None}


def start_pool(
    settings: ManagerSettings, node: Node, workers: int, folder: str, uplink: Uplink, env: dict[str, str], egg: Egg
) -> PoolLink:
    """Starts workers. Nothing of the settings' secrets goes to them.

    Raises:
        ConfigurationError: the cores asked for are not those of this node.
    """
    from plait.executors.capacity import Capacity
    from plait.executors.htex.affinity import Dress, accelerators_of_workers, cpu_sets
    from plait.executors.htex.node import count_shared
    from plait.executors.htex.sweep import mark_of
    from plait.executors.pool.core import PoolCore
    from plait.executors.pool.link import PoolLink

    sets = cpu_sets(settings.cpu_affinity, node.cpus, workers)
    names = settings.accelerators
    accelerators = names and accelerators_of_workers(names, workers, count_shared(names, workers))
    # A program that starts as many threads as the node has cores, in each of its workers, is slower than with its share of them.
    threads = 0 if "OMP_NUM_THREADS" in env else max(1, int(node.cores) // workers)
    dress = Dress(
        cpus=node.cpus,
        sets=sets,
        accelerators=accelerators,
        workers=workers,
        threads=threads,
        block=settings.block,
        pool_id=lambda: uplink.name,
        launcher=settings.mpi_launcher,
        env=env,
        gpus=node.gpus,
        mark=lambda task, attempt: mark_of(settings.run_id, settings.label, task, attempt),
    )

    def binding_of(task: Attempt) -> tuple[dict[str, str | None], list[int]]:
        assert task.details is not None  # noqa: S101 - it runs alone because it has some
        return dress.of_task(task.id, task.attempt, task.details.grant)

    own = [path for path in sys.path[1:] if path not in settings.path]  # the first is this process's directory
    config: dict[str, Any] = {
        "path": [*settings.path, *own],
        "cwd": settings.cwd,
        "output": folder,
        "cpus": sets,
        "preload": settings.preload,
        "initializer": settings.initializer,
        "max_tasks": settings.max_tasks,
    }
    core = PoolCore(Capacity(workers))
    pool = PoolLink(
        core,
        workers,
        config,
        env,
        settings.label,
        uplink.outbox,
        egg=egg,
        env_of=dress.of_worker,
        binding_of=binding_of,
    )
    pool.grace_s = GRACE_S
    return pool


def run(data: bytes, env: dict[str, str], egg: Egg) -> int:
    """Serves until the end; the exit status.

    Args:
        data: `settings.ManagerSettings` as JSON.
        env: variables for workers.
        egg: a zygote that has them.

    Raises:
        PlaitError: the settings do not fit this node.
        ValueError: they cannot be read.
    """
    import msgspec

    from plait._util.allocator import keep_freed_memory
    from plait.executors.htex.log import Log
    from plait.executors.htex.node import look, worker_count
    from plait.executors.htex.settings import ManagerSettings
    from plait.executors.htex.uplink import Uplink, new_name

    settings = msgspec.json.decode(data, type=ManagerSettings)
    node = look(settings, os.environ)
    workers = worker_count(settings, node)
    name = new_name()
    folder = make_folder(settings.log_dir, settings.block, name)
    log = Log(os.path.join(folder, "manager.log") if folder else "", debug=settings.debug)
    uplink = Uplink(settings, node, workers, name, log)
    pool = start_pool(settings, node, workers, folder, uplink, env, egg)
    keep_freed_memory()  # big values pass in pieces
    log.info("%s on %s: %d workers, block %s", name, node.hostname, workers, settings.block)
    serve(settings, uplink, pool, log)
    log.info("ended: %s", uplink.reason)
    log.close()
    if uplink.exit_code:
        print(f"manager {uplink.name}: {uplink.reason}", file=sys.stderr, flush=True)  # noqa: T201 - for the block's log
        if pool.broken is not None:
            from plait.executors.pool.words import last_words

            print(last_words(folder), end="", file=sys.stderr, flush=True)  # noqa: T201 - likewise
    return uplink.exit_code


def serve(settings: ManagerSettings, uplink: Uplink, pool: PoolLink, log: Log) -> None:
    """Does what the interchange says until the end of everything."""
    dealer = None
    try:
        try:
            dealer = dial(settings)
        except ConnectionError as error:
            uplink.exit_code, uplink.reason = 1, str(error)
            return
        log.info("connected to %s", dealer.address)
        uplink.attach(dealer, pool)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: uplink.signalled(number))
        gc.collect()
        gc.freeze()
        gc.enable()
        pool.run(uplink)
    finally:
        if dealer is not None:
            dealer.close()
        pool.shutdown(STOP_S)


def dial(settings: ManagerSettings) -> Dealer | NearDealer:
    """A connection to the interchange.

    Raises:
        ConnectionError: it did not answer, or nobody listens where it should be.
    """
    from plait.executors.htex.near import dial_near

    near = dial_near(settings)
    if near is not None:
        return near
    from plait.executors.htex.link import Dealer

    timeout_s = settings.probe_timeout_s
    keys = (settings.server_public, settings.public, settings.secret)
    try:
        return Dealer(settings.addresses, settings.port, *keys, min(timeout_s, REFUSED_S))
    except ConnectionRefusedError:
        raise
    except ConnectionError:  # the way there may be slow
        if timeout_s <= REFUSED_S:
            raise
        return Dealer(settings.addresses, settings.port, *keys, timeout_s - REFUSED_S)


def make_folder(log_dir: str, block: str, name: str) -> str:
    """A folder for the logs of one manager, in that of its block; empty when there is to be none, or it cannot be made."""
    if not log_dir:
        return ""
    of_block = os.path.join(log_dir, f"block-{block}")
    folder = os.path.join(of_block, name)
    try:
        for path in (of_block, folder):
            os.makedirs(path, 0o700, exist_ok=True)
    except OSError as error:
        print(f"manager {name}: there will be no logs: {error}", file=sys.stderr, flush=True)  # noqa: T201 - nowhere else to say so
        return ""
    return folder


def main(arguments: list[str]) -> int:
    """Entry of the process."""
    sources = [argument for argument in arguments if not argument.startswith("--")]
    if len(sources) != 1:
        print("expected the file with a manager's settings, or - for standard input", file=sys.stderr)  # noqa: T201 - a person typed it
        return 2
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the driver's: it says what is to end
    gc.disable()  # while modules are loaded there is nothing to be found
    try:
        data = read(sources[0])
        env = environment(data)
        egg = lay(env)
    except (OSError, ValueError) as error:
        print(f"manager: {error}", file=sys.stderr, flush=True)  # noqa: T201 - for the block's log
        return 2
    from plait.errors import PlaitError

    try:
        return run(data, env, egg)
    except (PlaitError, OSError, ValueError) as error:
        print(f"manager: {error}", file=sys.stderr, flush=True)  # noqa: T201 - for the block's log
        return 2


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # threads that hang in a file system must not hold it up
