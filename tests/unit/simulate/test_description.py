from __future__ import annotations

import json

import pytest

from plait.errors import ConfigurationError
from plait.simulate.description import described, read_description


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "expected `name` and tables"),
        ({"bag": {}}, "needs a bag"),
        ({"bag": {"a": 3}}, "expected a table"),
        ({"bag": {"a": {"tasks": 3}}}, "needs `tasks` and `duration`"),
        ({"bag": {"a": {"tasks": 3, "duration": 1, "colour": 1}}}, "does not know colour"),
        ({"bag": {"a": {"tasks": 0, "duration": 1}}}, "tasks=0"),
        ({"bag": {"a": {"tasks": 1, "duration": "soon"}}}, "bag a: duration='soon'"),
        ({"bag": {"a": {"tasks": 1, "duration": 1, "fail": 2}}}, "fail=2"),
        ({"bag": {"a": {"tasks": 1, "duration": 1, "memory": "much"}}}, "memory='much'"),
        ({"bag": {"a": {"tasks": 1, "duration": 1, "start": "x"}}}, "start='x'"),
        ({"bag": {"a": {"tasks": 1, "duration": 1, "after": "b"}}}, "after 'b'"),
        ({"bag": {"a": {"tasks": 1, "duration": 1, "layers": 2, "chain": 2}}}, "exclude"),
        ({"bag": {"a/1": {"tasks": 1, "duration": 1}, "a": {"tasks": 1, "duration": 1, "layers": 2}}}, "two of this name"),
        ({"jobs": 1, "bag": {}}, "found jobs"),
        ([1], r"or the path of a file, found \[1\]"),
        ({"bag": {"a": {"tasks": 1, "duration": 1, "near": 3}}}, "near=3: expected a name"),
        ({"bag": {"a": {"tasks": 1, "duration": 1, "after": 5}}}, "after=5: expected the name of a bag"),
        ({"bag": {"a": {"tasks": 1, "duration": 1, "each": 5}}}, "each=5: expected the name of a bag"),
        ({"bag": {"a": {"tasks": 1, "duration": 1, "cores": -1}}}, "cores=-1: expected a number from 0"),
        ({"bag": {"a": {"tasks": 1, "duration": 1, "gpus": float("nan")}}}, "gpus=nan: expected a number from 0"),
        ({"bag": {"a": {"tasks": 1, "duration": 1, "priority": 10**400}}}, "priority=1.*: expected a number"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(data, says):
    with pytest.raises(ConfigurationError, match=says):
        described(data)


def test_files(tmp_path):
    path = tmp_path / "w.json"
    path.write_text(json.dumps({"name": "x", "bag": {"a": {"tasks": 2, "duration": "1s"}}}))
    assert (read_description(str(path)).name, read_description(str(path)).source(0).total) == ("x", 2)
    path.write_text("[]")
    with pytest.raises(ConfigurationError, match="expected tables"):
        read_description(str(path))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_description(str(tmp_path / "none.json"))


def test_toml(tmp_path):
    path = tmp_path / "w.toml"
    path.write_text('[bag.a]\ntasks = 2\nduration = "uniform:1s,2s"\n')
    assert read_description(str(path)).source(0).total == 2
    path.write_text("[bag.a\n")
    with pytest.raises(ConfigurationError, match="w.toml"):
        read_description(str(path))


def test_what_tasks_ask_for_is_named_where_it_is_wrong():
    for key in ("cores", "gpus", "priority", "walltime", "memory"):
        with pytest.raises(ConfigurationError, match=f"bag a: {key}='x': expected"):
            described({"bag": {"a": {"tasks": 1, "duration": 1, key: "x"}}})
