from __future__ import annotations

import pytest

from plait.monitoring.base import EventSink


def test_a_sink_writes_and_closes():
    with pytest.raises(TypeError, match="write"):
        EventSink()

    class Full(EventSink):
        def write(self, events):
            self.got = list(events)

        def close(self):
            pass

    sink = Full()
    sink.write([(1, 2.0)])
    assert sink.got == [(1, 2.0)]
