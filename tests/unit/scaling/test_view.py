from __future__ import annotations

import pytest

from plait.scaling.view import (
    BlockView,
    Limits,
    Load,
    NodeSize,
    Shape,
    View,
    Want,
    blocks_text,
    tasks_text,
    workers_text,
    workers_wanted,
)

NODE = NodeSize(workers=8, cores=16.0, memory_bytes=64, gpus=2.0)


@pytest.mark.parametrize(
    ("shape", "share"),
    [
        (Shape(), 1 / 8),
        (Shape(cores=2.0), 1 / 8),
        (Shape(cores=4.0), 1 / 4),
        (Shape(cores=5.0), 1 / 3),
        (Shape(cores=9.0), 1.0),
        (Shape(cores=99.0), 1.0),
        (Shape(cores=0.1), 1 / 8),
        (Shape(memory_bytes=33), 1.0),
        (Shape(gpus=0.5), 1 / 4),
        (Shape(cores=2.0, gpus=2.0), 1.0),
        (Shape(nodes=3), 3.0),
    ],
)  # fmt: skip
def test_the_share_of_a_task_is_one_of_as_many_as_fit(shape, share):
    assert NODE.share(shape) == pytest.approx(share)


def test_what_is_not_known_of_a_node_is_not_counted():
    assert NodeSize(workers=4).share(Shape(cores=64.0, memory_bytes=10**12, gpus=8.0)) == 0.25


@pytest.mark.parametrize(("places", "nodes", "share"), [(4, 1, 1.0), (4, 3, 3.0), (2, 1, 2.0), (1, 3, 4.0)])
def test_where_a_block_has_fewer_places_than_nodes_a_task_takes_a_place_at_least(places, nodes, share):
    """As a block of four nodes of an `MPIExecutor`."""
    node = NodeSize(places / 4)
    assert node.share(Shape(nodes=nodes)) == share
    assert workers_wanted(1, [Want(Shape(nodes=nodes), waiting=1)], node) == share * places / 4


def test_tasks_want_workers_by_what_they_ask_for():
    wants = [Want(Shape(cores=4.0), waiting=2, running=2), Want(Shape(nodes=2), waiting=1)]
    assert workers_wanted(10, wants, NODE) == pytest.approx(5 + 4 * 2 + 16)
    assert workers_wanted(10, [], NODE) is None
    assert workers_wanted(10, wants, None) is None


def test_a_view_counts_what_takes_tasks():
    blocks = [BlockView("0", 4), BlockView("1"), BlockView("2", 4, leaving=True)]
    view = View(blocks, 10, None, 0.0, 6, Limits(max_blocks=4, parallelism=0.5), 120.0)
    assert [block.id for block in view.active] == ["0", "1"]
    assert view.slots == 10
    assert view.wanted == 5.0
    assert view.room == 1, "a block that leaves still has its nodes"
    assert Load(3).wanted is None


def test_words():
    assert (blocks_text(1), blocks_text(2), tasks_text(1), workers_text(0)) == (
        "1 block",
        "2 blocks",
        "1 task",
        "0 workers",
    )
