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
        ({"core": 1}, ["core"], "cores, disk, gpus, labels, memory, near, priority, walltime"),
        ({"core": 1, "gpu": 1}, ["core", "gpu"], "expected some of"),
        ({"cores": 0}, ["cores"], "cores=0: expected more than 0"),
        ({"cores": -1}, ["cores"], "cores=-1"),
        ({"cores": "2"}, ["cores"], "cores='2': expected a number"),
        ({"cores": True}, ["cores"], "cores=True: expected a number"),
        ({"cores": float("nan")}, ["cores"], "cores=nan"),
        ({"gpus": -1}, ["gpus"], "gpus=-1: expected 0 or more"),
        ({"memory": "much"}, ["memory"], "memory='much'"),
        ({"walltime": "soon"}, ["walltime"], "walltime='soon'"),
        ({"priority": "high"}, ["priority"], "priority='high'"),
        ({"disk": "much"}, ["disk"], "disk='much'"),
        ({"labels": 3}, ["labels"], "labels=3: expected a name or a list of names"),
        ({"near": ["a", ""]}, ["near"], "near=['a', '']"),
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
