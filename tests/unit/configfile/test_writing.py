"""What was written gives the same again: every class and every value, with its type."""

from __future__ import annotations

import datetime as dt
import importlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import plait
from plait._util.given import RemembersGiven
from plait.configfile import writing
from plait.configfile.kinds import short_names
from plait.configfile.reading import Reader
from plait.configfile.signatures import parameters
from plait.executors import Executor
from plait.launchers import Launcher, SingleNodeLauncher, WrappedLauncher
from plait.providers import ExecutionProvider, LocalProvider, SlurmProvider, SSHProvider


class Holder:
    """Keeps anything."""

    def __init__(self, value: Any = None, named: str | None = None):
        self.value = value
        self.named = named


class Forgetful:
    def __init__(self, value=1):
        pass


class Derives(RemembersGiven):
    """What it is given is not what it keeps."""

    def __init__(self, workers=None, path="x", extra=5):
        self.workers = workers or 64
        self.path = Path(path)


def handler(error, record):
    return 1


def again(thing):
    return Reader(writing.to_text(thing), "written").read(type(thing))


def test_a_configuration_goes_round():
    config = plait.Config(
        [
            plait.HighThroughputExecutor(
                "a",
                LocalProvider(
                    worker_init='module load x\n"""y"\\ \n\tz\x7f', max_blocks=3, launcher=WrappedLauncher("nice")
                ),
                env={"A": None, "B": "1"},
                available_accelerators=("0", "1"),
                worker_port_range=(50000, 50010),
                block_error_handler=handler,
                max_result_size="2GB",
            ),
            plait.ThreadPoolExecutor(max_threads=4),
            plait.ProcessPoolExecutor(initargs=(1, (2, "x"), {3: [4]}), cpu_affinity=[[0], [1]], memory_bytes=10**12),
        ],
        retries=1.5,
        retry_handler=handler,
        strategy="none",
        dependency_resolver=plait.SHALLOW_DEPENDENCY_RESOLVER,
    )
    text = config.to_toml()
    other = plait.Config.from_toml(text)
    assert other.to_toml() == text
    for mine, its in zip(config.executors, other.executors, strict=True):
        for name in parameters(type(mine)):
            one, two = getattr(mine, name, None), getattr(its, name, None)
            assert type(one) is type(two)
            assert one == two or name == "provider"
    assert vars(other.executors[0].provider.launcher) == vars(config.executors[0].provider.launcher)
    assert other.executors[0].provider.worker_init == config.executors[0].provider.worker_init
    assert "memory_bytes = 1000000000000" in text


def test_a_provider_behind_another_goes_round():
    given = SSHProvider(host="login", provider=SlurmProvider(max_blocks=3, nodes_per_block=2), options=["Port=2222"])
    table = writing.plain(given, ("x",))
    assert set(table) == {"type", "host", "provider", "options"}
    other = writing.read_table(table, SSHProvider)
    assert (other.max_blocks, other.provider.nodes_per_block) == (3, 2)


def test_what_this_machine_made_of_a_default_is_not_written():
    assert "max_workers" not in plait.Config([plait.ProcessPoolExecutor()]).to_toml()
    cores = plait.ProcessPoolExecutor().max_workers
    assert f"max_workers = {cores}" in plait.Config([plait.ProcessPoolExecutor(max_workers=cores)]).to_toml()
    thing = Derives(path="y", extra=6)
    assert writing.plain(thing) == {"type": "Derives", "path": "y", "extra": 6}
    thing.workers = 3
    assert writing.plain(thing)["workers"] == 3


def test_defaults_can_be_written_too():
    text = plait.Config([plait.HighThroughputExecutor()]).to_toml(defaults=True)
    for line in (
        "retries = 0",
        'label = "HighThroughputExecutor"',
        "max_blocks = 1",
        "fail_on_any = false",
    ):
        assert line in text.splitlines()
    assert writing._same(plait.Config.from_toml(text), plait.Config([plait.HighThroughputExecutor()]))


CLASSES = [
    (room, name, port)
    for room, port in (("executors", Executor), ("providers", ExecutionProvider), ("launchers", Launcher))
    for name in short_names(port)
    if name in importlib.import_module(f"plait.{room}").__all__
]
#: What classes cannot do without.
NEEDS = {
    "AWSProvider": {"image_id": "ami-1", "key_name": "key"},
    "AzureProvider": {
        "vm_reference": {
            "publisher": "a",
            "offer": "b",
            "sku": "c",
            "version": "latest",
            "vm_size": "d",
            "admin_username": "e",
            "password": "f",
            "disk_size_gb": 10,
        }
    },
    "GoogleCloudProvider": {"project_id": "a", "key_file": "b", "region": "c", "os_project": "d", "os_family": "e"},
    "KubernetesProvider": {"image": "x"},
    "SSHProvider": {"hosts": ["a", "b"]},
    "WrappedLauncher": {"prepend": "nice"},
}


@pytest.mark.parametrize(("room", "name", "port"), CLASSES, ids=[name for _, name, _ in CLASSES])
def test_every_class_keeps_what_it_was_given(room, name, port):
    """Whatever stands in plait's rooms can be written: each parameter is in an attribute, or remembered."""
    cls = getattr(importlib.import_module(f"plait.{room}"), name)
    made = cls(**NEEDS.get(name, {}))
    table = writing.plain(made, ("x",), defaults=True)
    other = writing.read_table(table, cls)
    assert writing.plain(other, ("x",), defaults=True) == table
    assert writing._same(made, other)
    for parameter in parameters(cls):
        kept = getattr(made, parameter, None)
        assert type(kept) is type(getattr(other, parameter, None)), parameter


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=6)
        | st.dictionaries(st.integers(0, 5), inner, max_size=3)
        | st.frozensets(st.integers() .filter(lambda n: abs(n) < 2**63), max_size=3)
        | st.builds(Holder, inner)
    ),
    max_leaves=12,
)  # fmt: skip


@given(VALUES)
def test_any_value_goes_round(value):
    assert writing._same(again(Holder(value)).value, value)


def test_text_of_a_known_parameter():
    for text in (
        "",
        "a\nb",
        '"""',
        "'",
        "\r\n\t\\",
        'x"\n"',
        "ü€\u2028\x00\x7f",
        "\nx\n",
        "a:b",
        'a\n"""',
        'a\n""""',
        'a\n\\"""b"',
        'a\n\\"',
    ):
        assert again(Holder(named=text)).named == text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda: 1, r"value: <lambda>.* not at the top|value: .*<lambda>"),
        ([1, {"a": lambda: 1}], r"value\[1\]\.a: "),
        ("\ud800", "no text that a file could hold"),
        (Forgetful(), r"value\.value: Forgetful does not keep this parameter"),
        (dt.timedelta(hours=1), "value: nothing says what timedelta takes"),
        ([Path("a")], r"value\[0\]: nothing says what \w+Path takes"),
        (b"a", "value: nothing says what bytes takes"),
        (range(3), "value: nothing says what range takes"),
    ],
)
def test_what_cannot_stand_in_a_file_is_refused_with_its_path(value, message):
    with pytest.raises(writing.CannotWrite, match=message):
        writing.to_text(Holder(value))


def test_text_that_would_be_taken_for_a_function_is_refused():
    odd = plait.Config()
    odd.retry_handler = "a:b"
    with pytest.raises(
        writing.CannotWrite, match="retry_handler: the text 'a:b' would be taken for the name of a function"
    ):
        odd.to_toml()


def test_functions_by_name():
    assert again(Holder(json.dumps)).value is json.dumps
    assert again(Holder(Holder)).value is Holder


def test_numbers():
    assert math.isnan(again(Holder(float("nan"))).value)
    assert again(Holder(-math.inf)).value == -math.inf
    assert type(again(Holder(1.0)).value) is float
    assert isinstance(again(Holder([True])).value[0], bool)
    assert isinstance(
        again(
            plait.Config(
                [plait.HighThroughputExecutor(provider=LocalProvider(launcher=SingleNodeLauncher(fail_on_any=True)))]
            )
        ),
        plait.Config,
    )
