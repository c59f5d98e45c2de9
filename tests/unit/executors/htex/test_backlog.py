from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plait.executors.htex.backlog import Backlog
from plait.executors.htex.messages import Chunk, Heartbeat

messages = st.lists(
    st.tuples(
        st.sampled_from([Chunk(1, 1, 0), Heartbeat(1.0)]),
        st.tuples(st.binary(min_size=1, max_size=9), st.binary(max_size=9)),
    )
)


@given(messages)
def test_what_is_urgent_goes_first_and_each_kind_in_its_order(items):
    backlog = Backlog()
    for message, parts in items:
        backlog.put(message, parts)
    sent = []
    while backlog.bytes:
        sent.append(backlog.first())
        backlog.pop()
    assert sent == [parts for kind in (Heartbeat, Chunk) for message, parts in items if type(message) is kind]


@given(messages)
def test_bytes_are_counted(items):
    backlog = Backlog()
    for message, parts in items:
        backlog.put(message, parts)
    assert backlog.bytes == sum(len(parts[0]) + len(parts[1]) for _, parts in items)
    backlog.clear()
    assert backlog.bytes == 0
