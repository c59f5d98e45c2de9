"""F44: a driver that runs for weeks: tasks whose futures are dropped leave nothing, failed ones included."""

from __future__ import annotations

import pytest

from tests.fault.lab import run

BODY = """
import gc, resource
def rss():
    if plait.dfk()._stream is not None:
        plait.dfk()._stream.flush()  # what its thread has not written yet is no leak
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * 4096
def batch(count):
    futures = [{call} for number in range(count)]
    for future in futures:
        future.exception(60)
with load({config}):
    for _ in range(5):
        batch({size})
    before, objects = rss(), len(gc.get_objects())
    for _ in range({rounds}):
        batch({size})
    after = rss()
    print("per task", (after - before) / ({rounds} * {size}), "records", len(plait.dfk()._engine.tasks), "grown", after - before, "objects", len(gc.get_objects()) - objects)
"""


@pytest.mark.parametrize(
    ("call", "config", "size", "rounds"),
    [
        ("echo(number)", "", 5000, 40),
        ("echo(number)", "executors=[ThreadPoolExecutor()]", 5000, 8),
        ("python_app(tasks.fail, retries=1)()", "", 300, 8),
        ("echo(number)", "initialize_logging=True", 5000, 10),
        ("echo(echo(number))", "", 2000, 12),
    ],
    ids=["200,000", "threads", "failing", "journal", "dependent"],
)
def test_nothing_stays(call, config, size, rounds):
    code, text = run(BODY.format(call=call, config=config, size=size, rounds=rounds), timeout_s=90)
    assert code == 0, text
    words = text.split()
    per_task, records, grown, objects = (
        float(words[words.index(word) + 1]) for word in ("task", "records", "grown", "objects")
    )
    assert records == 0
    assert objects < size * rounds / 100
    assert per_task < 200 or grown < 4_000_000  # the allocator gives or takes that much
