from __future__ import annotations

import pytest

from plait.errors import InvalidResourceSpecification
from plait.executors.htex.shapes import check_gang, check_nodes
from plait.launchers.simple import SimpleLauncher, SingleNodeLauncher
from plait.model.resources import parse_resources
from plait.providers import LocalProvider, SlurmProvider


def shape(**spec):
    return parse_resources(spec)[0]


def provider(nodes, launcher=None):
    return LocalProvider(nodes_per_block=nodes, launcher=launcher or SingleNodeLauncher())


def test_what_fits():
    check_gang(shape(nodes=2, ranks_per_node=4), "x", SlurmProvider(nodes_per_block=2, cores_per_node=4))
    check_gang(shape(nodes=2, ranks_per_node=400), "x", provider(2))
    check_gang(shape(nodes=1, ranks_per_node=2), "x", provider(4, SimpleLauncher()))
    check_nodes(shape(nodes=2), "x", 2)


@pytest.mark.parametrize(
    ("resources", "there", "keys", "text"),
    [
        (
            shape(nodes=3),
            provider(2),
            ["nodes"],
            "3 nodes of one block asked, a block of executor 'x' has 2 (nodes_per_block)",
        ),
        (
            shape(nodes=2, ranks_per_node=5),
            SlurmProvider(nodes_per_block=2, cores_per_node=4),
            ["ranks_per_node"],
            "5 ranks on each node asked, a node of executor 'x' has 4 cores (cores_per_node)",
        ),
        (
            shape(nodes=2),
            provider(2, SimpleLauncher()),
            ["nodes"],
            "SimpleLauncher starts a manager on the first node of a block only",
        ),
    ],
)
def test_what_never_will_is_refused_with_the_numbers(resources, there, keys, text):
    with pytest.raises(InvalidResourceSpecification) as caught:
        check_gang(resources, "x", there)
    assert caught.value.invalid_keys == keys
    assert text in str(caught.value)
