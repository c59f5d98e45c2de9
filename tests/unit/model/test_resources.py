from __future__ import annotations

import pytest

from plait.errors import InvalidResourceSpecification
from plait.model.resources import DEFAULT, Resources, parse_resources


def test_reading():
    found, walltime_s = parse_resources({"cores": 2, "memory": "4GB", "gpus": 0.5, "priority": 3, "walltime": "10m"})
    assert found == Resources(cores=2.0, memory_bytes=4 * 10**9, gpus=0.5, priority=3.0)
    assert walltime_s == 600
    assert isinstance(found.cores, float)


def test_what_is_not_said_stays():
    base = Resources(cores=4, memory_bytes=10)
    assert parse_resources({}, base) == (base, None)
    assert parse_resources({"gpus": 1, "cores": None}, base)[0] == Resources(cores=4, memory_bytes=10, gpus=1.0)
    assert parse_resources({})[0] is DEFAULT
    assert DEFAULT.is_default
    assert not Resources(cores=2).is_default


@pytest.mark.parametrize(
    ("spec", "keys", "text"),
    [
        ({"core": 1}, ["core"], "cores, disk, gpus, labels, launcher_options, memory, near, nodes, num_nodes"),
        ({"core": 1, "gpu": 1}, ["core", "gpu"], "expected some of"),
        ({"cores": 0}, ["cores"], "cores=0: expected more than 0"),
        ({"cores": -1}, ["cores"], "cores=-1"),
        ({"cores": "2"}, ["cores"], "cores='2': expected a number"),
        ({"cores": True}, ["cores"], "cores=True: expected a number"),
        ({"cores": float("nan")}, ["cores"], "cores=nan"),
        ({"cores": -(10**400)}, ["cores"], "expected more than 0"),
        ({"nodes": 10**400}, ["nodes"], "expected a whole number from 1"),
        ({"ranks": 1 << 31}, ["ranks"], "ranks=2147483648: expected a whole number from 1 to 2147483647"),
        ({"memory": 1 << 63}, ["memory"], "expected at most 4"),
        ({"disk": 1e30}, ["disk"], "expected at most 4"),
        ({3: 1, "zz": 2}, ["3", "zz"], "expected some of cores"),
        ({"gpus": -1}, ["gpus"], "gpus=-1: expected 0 or more"),
        ({"memory": "much"}, ["memory"], "memory='much'"),
        ({"walltime": "soon"}, ["walltime"], "walltime='soon'"),
        ({"priority": "high"}, ["priority"], "priority='high'"),
        ({"disk": "much"}, ["disk"], "disk='much'"),
        ({"labels": 3}, ["labels"], "labels=3: expected a name or a list of names"),
        ({"near": ["a", ""]}, ["near"], "near=['a', '']"),
        ({"labels": "\udc80"}, ["labels"], "labels='\\udc80': expected names that can be written as UTF-8"),
    ],
)
def test_what_cannot_be_is_named(spec, keys, text):
    with pytest.raises(InvalidResourceSpecification) as caught:
        parse_resources(spec)
    assert caught.value.invalid_keys == keys
    assert text in str(caught.value)


def test_names_and_space():
    found, _ = parse_resources({"disk": "2GB", "labels": "ann", "near": ["node1", "node2"]})
    assert found == Resources(disk_bytes=2 * 10**9, labels=("ann",), near=("node1", "node2"))
    assert found != DEFAULT
    assert "2" in str(found)
    assert "of disk" in str(found)
    assert found.scaled({"disk": 2}).disk_bytes == 4 * 10**9


def test_no_gpus_are_fine():
    assert parse_resources({"gpus": 0})[0].gpus == 0


def test_scaling():
    assert Resources(cores=2, memory_bytes=100).scaled({"memory": 1.5, "cores": 2}) == Resources(
        cores=4, memory_bytes=150
    )
    assert isinstance(Resources(memory_bytes=3).scaled({"memory": 1.5}).memory_bytes, int)


@pytest.mark.parametrize(
    ("resources", "text"),
    [
        (DEFAULT, "1 core"),
        (Resources(cores=2, memory_bytes=4 * 10**9, gpus=1), "2 cores, 4.0 GB, 1 GPU"),
        (Resources(cores=0.5, gpus=2), "0.5 cores, 2 GPUs"),
    ],
)
def test_as_text(resources, text):
    assert str(resources) == text


# ------------------------------------------------------------------ whole nodes
@pytest.mark.parametrize(
    ("spec", "nodes", "each", "ranks"),
    [
        ({"nodes": 2, "ranks_per_node": 4}, 2, 4, 8),
        ({"num_nodes": 2, "ranks_per_node": 4}, 2, 4, 8),
        ({"num_nodes": 2, "num_ranks": 8}, 2, 4, 8),
        ({"num_ranks": 8, "ranks_per_node": 4}, 2, 4, 8),
        ({"nodes": 2, "ranks": 8, "num_ranks": 8, "ranks_per_node": 4}, 2, 4, 8),
        ({"nodes": 3}, 3, 1, 3),
        ({"ranks": 3}, 1, 3, 3),
        ({"ranks_per_node": 3}, 1, 3, 3),
        ({"nodes": 2.0, "ranks": 4.0}, 2, 2, 4),
    ],
)
def test_what_was_not_said_of_ranks_follows_in_whole_numbers(spec, nodes, each, ranks):
    found, _ = parse_resources(spec)
    assert (found.nodes, found.ranks_per_node, found.ranks) == (nodes, each, ranks)
    assert {type(value) for value in (found.nodes, found.ranks_per_node, found.ranks)} == {int}
    assert not found.is_default


@pytest.mark.parametrize(
    ("spec", "keys", "text"),
    [
        ({"nodes": 2, "ranks": 5}, ["nodes", "ranks"], "5 ranks on 2 nodes: not as many on each"),
        ({"nodes": 2, "ranks": 1}, ["nodes", "ranks"], "1 rank on 2 nodes"),
        (
            {"nodes": 2, "ranks": 9, "ranks_per_node": 4},
            ["nodes", "ranks", "ranks_per_node"],
            "4 on each of them make 8",
        ),
        (
            {"ranks": 9, "ranks_per_node": 4},
            ["ranks", "ranks_per_node"],
            "9 ranks on 2 nodes: 4 on each of them make 8",
        ),
        ({"nodes": 2, "num_nodes": 3}, ["num_nodes"], "num_nodes=3 and nodes=2 stand for the same"),
        ({"nodes": 0}, ["nodes"], "nodes=0: expected a whole number from 1"),
        ({"nodes": 1.5}, ["nodes"], "nodes=1.5: expected a whole number"),
        ({"nodes": float("inf")}, ["nodes"], "nodes=inf: expected a whole number"),
        ({"ranks": "4"}, ["ranks"], "ranks='4'"),
        ({"ranks_per_node": True}, ["ranks_per_node"], "ranks_per_node=True"),
        ({"nodes": 1, "launcher_options": ["-x"]}, ["launcher_options"], "expected a line of text"),
        ({"nodes": 1, "launcher_options": "a\nb"}, ["launcher_options"], "expected a line of text"),
        ({"launcher_options": "-x"}, ["launcher_options"], "without nodes"),
    ],
)
def test_shapes_that_cannot_be(spec, keys, text):
    with pytest.raises(InvalidResourceSpecification) as caught:
        parse_resources(spec)
    assert caught.value.invalid_keys == keys
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"nodes": 4}, (4, 4, 16)),
        ({"ranks": 4}, (2, 2, 4)),
        ({"ranks_per_node": 2}, (2, 2, 4)),
        ({"nodes": 4, "ranks": 8}, (4, 2, 8)),
        ({"priority": 1}, (2, 4, 8)),
    ],
)
def test_a_call_changes_the_shape_that_its_app_declares(spec, expected):
    base = parse_resources({"nodes": 2, "ranks_per_node": 4, "launcher_options": " --verbose "})[0]
    found, _ = parse_resources(spec, base)
    assert (found.nodes, found.ranks_per_node, found.ranks) == expected
    assert found.launcher_options == "--verbose"


def test_a_shape_as_text():
    assert str(parse_resources({"nodes": 2, "ranks_per_node": 4})[0]) == "2 nodes with 4 ranks each"
    assert str(parse_resources({"nodes": 1, "gpus": 2})[0]) == "1 node with 1 rank each, 2 GPUs"
