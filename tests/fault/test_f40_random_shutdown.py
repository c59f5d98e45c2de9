"""F40: shutdown at any moment: a future that says done was run once, one that says cancelled was not told as done, none is left open."""

from __future__ import annotations

import collections
import threading

import plait
from plait.testing import tasks
from tests.fault.lab import all_gone, in_processes, let_pass, seeded
from tests.leaks import descendants
from tests.support import require_linux


def test_every_future_ends_and_what_is_done_was_done_once(tmp_path):
    require_linux("child subreaper")
    moments = seeded("shutdown")
    before = descendants()
    for round_ in range(12):
        path = str(tmp_path / str(round_))
        futures, refused = [], []
        with in_processes() as kernel:
            note = plait.python_app(tasks.note)

            def submit(part, note=note, futures=futures, refused=refused, path=path):
                for number in range(100_000):
                    try:
                        futures.append((f"{part} {number}", note(path, f"{part} {number}")))
                    except plait.errors.NoDataFlowKernelError as error:
                        refused.append(error)
                        return

            threads = [threading.Thread(target=submit, args=(part,)) for part in range(2)]
            for thread in threads:
                thread.start()
            let_pass(moments.uniform(0.0, 0.4))
            kernel.cleanup()
            for thread in threads:
                thread.join(10)
        counts = collections.Counter(tasks.notes(path))
        assert len(refused) == 2
        assert [name for name, future in futures if not future.done()] == []
        assert [
            name
            for name, future in futures
            if not future.cancelled() and future.exception() is None and counts[name] != 1
        ] == []
        assert [name for name, count in counts.items() if count > 1] == []
        assert {type(future.exception()).__name__ for _, future in futures if not future.cancelled()} <= {"NoneType"}
    all_gone(before, 1.0)
