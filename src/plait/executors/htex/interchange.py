"""The interchange: the process between the driver and the managers of a pilot-job executor.

```
driver ◀──socket pair──▶ interchange: one thread, one poll (`exchange.py`) ◀──CurveZMQ──▶ managers
                              └── a thread that writes its log, if it has one
```

It is started by exec with the number of the driver's socket as its last argument and its settings on standard input. It waits for nothing but its poll,
touches no file system, and sees in the end of the socket that the driver is gone; then it tells the managers to end, and ends.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time
from typing import Final

import msgspec

from plait._util.version import plait_version
from plait.errors import PlaitError
from plait.executors.htex import messages as m
from plait.executors.htex.core import InterchangeCore
from plait.executors.htex.door import with_door
from plait.executors.htex.exchange import Exchange
from plait.executors.htex.link import Router, raise_open_files_limit
from plait.executors.htex.log import Log
from plait.executors.htex.placement import BlockByBlock
from plait.executors.htex.settings import InterchangeSettings
from plait.executors.htex.stream import Stream

#: Seconds that the driver may take to hear why it ends.
_LAST_WORDS_S: Final = 1.0


def make_core(settings: InterchangeSettings, now_s: float) -> InterchangeCore:
    """The core of these settings, with the user's policy if there is one."""
    policy = BlockByBlock() if settings.packs else None
    if settings.policy:
        from plait.serialize import loads

        sys.path.extend(path for path in settings.path if path not in sys.path)
        policy = loads(settings.policy)
    return InterchangeCore(
        epoch=settings.epoch,
        cores_per_worker=settings.cores_per_worker,
        memory_per_worker=settings.memory_per_worker,
        heartbeat_period_s=settings.heartbeat_period_s,
        heartbeat_threshold_s=settings.heartbeat_threshold_s,
        policy=policy,
        forgiving=bool(settings.policy),
        expected=settings.expected,
        now_s=now_s,
        plait=plait_version(),
        python=settings.python,
    )


def serve(settings: InterchangeSettings, driver: Stream) -> int:
    """Runs an interchange to its end; the exit status."""
    log = Log(settings.log, debug=settings.debug)
    reason = ""
    try:
        router = Router(
            settings.bind, settings.port, settings.port_range, settings.server_secret, settings.server_public
        )
        core = make_core(settings, time.monotonic())
        gc.collect()
        gc.freeze()
        gc.set_threshold(
            100_000, 50, 1000
        )  # tasks are tuples of numbers and bytes, which make no cycles; a million of them are not to be looked at often
        Exchange(settings, driver, with_door(router, settings), core, log).run()
    except PlaitError as error:  # it cannot listen, or the driver speaks nonsense
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - boundary of the process: the driver is told, and sees the rest in standard error
        import traceback

        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
    if reason:
        log.warning("cannot go on: %s", reason)
        print(reason, file=sys.stderr)  # noqa: T201 - the driver shows the end of it
        driver.send(m.Broken(reason))
        deadline_s = time.monotonic() + _LAST_WORDS_S
        while driver.pending and not driver.ended and time.monotonic() < deadline_s:
            time.sleep(0.002)
            driver.flush()
    log.close()
    return 1 if reason else 0


def main() -> None:
    """Entry of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides what a Ctrl-C means
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if os.getsid(0) != os.getpid():
        try:
            os.setsid()
        except OSError:  # a user's command made it the leader of a group
            pass
    sock = socket.socket(fileno=int(sys.argv[-1]))
    sock.set_inheritable(False)
    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=InterchangeSettings)
    raise_open_files_limit()
    status = serve(settings, Stream(sock, m.FROM_DRIVER))
    sys.stderr.flush()
    os._exit(status)  # there is nothing left to be done, whatever a policy of the user's has started


if __name__ == "__main__":
    main()
