"""Every mistake is told at once: line, path, value, what was expected."""

from __future__ import annotations

import pytest

import plait
from plait.configfile.reading import Reader, literal
from plait.errors import ConfigurationError
from plait.launchers import SingleNodeLauncher
from plait.providers import LocalProvider


def handler(error, record):
    return 2


class Thing:
    def __init__(self, required, anything=None, pair: tuple[int, int] = (1, 2), names: frozenset[str] = frozenset()):
        self.required, self.anything, self.pair, self.names = required, anything, pair, names


def read(text, cls=plait.Config, **keywords):
    return Reader(text, "f.toml").read(cls, **keywords)


def refused(text, **keywords):
    with pytest.raises(ConfigurationError) as caught:
        read(text, **keywords)
    return str(caught.value)


def test_a_whole_configuration():
    config = read(f"""
        retries = 2
        retry_handler = "{__name__}:handler"
        dependency_resolver = {{ reference = "plait:SHALLOW_DEPENDENCY_RESOLVER" }}
        [[executors]]
        type = "HighThroughputExecutor"
        label = "a"
        env = {{ A = "1", B = {{ type = "None" }} }}
        [executors.provider]
        type = "LocalProvider"
        max_blocks = 4
        launcher = {{ type = "SingleNodeLauncher", fail_on_any = true }}
        [[executors]]
        type = "ThreadPoolExecutor"
    """)
    assert config.retry_handler is handler
    assert config.dependency_resolver is plait.SHALLOW_DEPENDENCY_RESOLVER
    pilot, threads = config.executors
    assert (pilot.label, threads.label) == ("a", "threads")
    assert pilot.env == {"A": "1", "B": None}
    assert isinstance(pilot.provider, LocalProvider)
    assert pilot.provider.max_blocks == 4
    assert isinstance(pilot.provider.launcher, SingleNodeLauncher)
    assert pilot.provider.launcher.fail_on_any


def test_all_mistakes_at_once_in_order_of_lines():
    assert refused("""\
retires = 1
[[executors]]
type = "HighThroughputExecutr"
[[executors]]
type = "HighThroughputExecutor"
max_workers_per_node = "eight"
[executors.provider]
type = "LocalProvider"
max_block = 3
launcher = "x"
""").splitlines() == [
        "f.toml has 5 mistakes",
        "  line 1: retires: there is no such parameter of Config; did you mean retries?",
        "  line 3: executors[0].type: there is no class 'HighThroughputExecutr' in plait; did you mean HighThroughputExecutor?",
        '  line 6: executors[1].max_workers_per_node = "eight": expected a number, or nothing (leave the key out)',
        "  line 9: executors[1].provider.max_block: there is no such parameter of LocalProvider; did you mean max_blocks?",
        refused(
            '[[executors]]\ntype="HighThroughputExecutor"\nprovider.type="LocalProvider"\nprovider.launcher = "x"'
        ).replace("f.toml, line 4: executors[0]", "  line 10: executors[1]"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("retries = -1", "f.toml, line 1: retries = -1: expected a number, 0 or more"),
        ("\nrun_dir = 3", "f.toml, line 2: run_dir = 3: expected text"),
        ("executors = 3", "line 1: executors = 3: expected a list"),
        ("[[executors]]\nlabel = 'x'", "line 1: executors[0]: expected a table with `type`, one of HighThroughputExecutor"),
        ("executors = ['x']", 'executors[0] = "x": expected a table with `type`'),
        ("[[executors]]\ntype = 'LocalProvider'", 'line 2: executors[0].type = "LocalProvider": expected a table with'),
        ("[[executors]]\ntype = 3", "line 2: executors[0].type = 3: expected the name of a class"),
        ("[[executors]]\ntype = 'ThreadPoolExecutor'\nmax_threads = 0", "line 3: executors[0].max_threads = 0: expected a whole number from 1"),
        ("retry_handler = 'json:dumpz'", "line 1: retry_handler = \"json:dumpz\": 'json' has no 'dumpz'; did you mean dump?"),
        ("retry_handler = 'handler'", 'line 1: retry_handler = "handler": expected the name of a function, as module:function'),
        ("memoizer = { reference = 'json:x' }", "memoizer.reference = \"json:x\": 'json' has no 'x'"),
        ("garbage_collect = {}", "line 1: garbage_collect: expected true or false"),
        ("[[executors]]\ntype = 'ThreadPoolExecutor'\n[[executors]]\ntype = 'ThreadPoolExecutor'", "expected labels that differ (threads is there more than once)"),
        (
            "[[executors]]\ntype='HighThroughputExecutor'\n[executors.provider]\ntype='LocalProvider'\ninit_blocks = 5",
            "f.toml, line 3: executors[0].provider: LocalProvider(init_blocks=5, min_blocks=0, max_blocks=1): expected min_blocks",
        ),
        ("retries = 1\n\n[[a]]]", "f.toml: this is no TOML"),
        ("[[executors]]\ntype='HighThroughputExecutor'\nenv = { A = 1 }", "line 3: executors[0].env.A = 1: expected text"),
        ("[[executors]]\ntype='HighThroughputExecutor'\navailable_accelerators = ['a', 1]", "available_accelerators[1] = 1: expected text"),
    ],
)  # fmt: skip
def test_one_mistake(text, message):
    assert message in refused(text)


def test_values_whose_types_toml_does_not_have():
    thing = read(
        'required = { type = "tuple", items = [1, { type = "set", items = ["a"] }] }\n'
        'anything = { type = "dict", items = [[1, { type = "None" }]] }\npair = [3, 4]\nnames = ["b"]',
        Thing,
    )
    assert thing.required == (1, {"a"})
    assert thing.anything == {1: None}
    assert thing.pair == (3, 4)
    assert thing.names == frozenset({"b"})


def test_what_must_be_given():
    with pytest.raises(ConfigurationError, match="f.toml: required must be given: Thing cannot do without it"):
        read("", Thing)


def test_values_go_to_all_that_have_such_a_parameter():
    text = """
        [[executors]]
        type = "HighThroughputExecutor"
        [executors.provider]
        type = "LocalProvider"
        max_blocks = 1
        [[executors]]
        type = "ThreadPoolExecutor"
    """
    config = read(text, values={"max_blocks": 3, "retries": 2, "launcher": SingleNodeLauncher(fail_on_any=True)})
    assert config.retries == 2
    assert config.executors[0].provider.max_blocks == 3
    assert config.executors[0].provider.launcher.fail_on_any
    assert 'acount = "x": nothing in f.toml has such a parameter' in refused(text, values={"acount": "x"})
    assert "max_block = 1: nothing in f.toml has such a parameter; did you mean max_blocks?" in refused(
        text, values={"max_block": 1}
    )
    assert 'executors[0].provider.max_blocks = "x": expected a whole number' in refused(
        text, values={"max_blocks": "x"}
    )


def test_what_a_site_needs():
    text = """[site]
needs = ["worker_init"]
[[executors]]
type = "HighThroughputExecutor"
[executors.provider]
type = "LocalProvider"
"""
    message = refused(text)
    assert message.startswith("f.toml, line 5: executors[0].provider.worker_init must be given")
    assert "--set worker_init=..." in message
    assert read(text, values={"worker_init": "x"}).executors[0].provider.worker_init == "x"
    assert read(text + 'worker_init = "y"').executors[0].provider.worker_init == "y"


def test_defaults_of_administrators_come_before_those_of_classes():
    def defaults(cls):
        return {"max_blocks": 7, "worker_init": "x"} if cls is LocalProvider else {}

    text = '[[executors]]\ntype = "HighThroughputExecutor"\nprovider = { type = "LocalProvider", worker_init = "y" }'
    provider = Reader(text, "f", defaults).read(plait.Config).executors[0].provider
    assert (provider.max_blocks, provider.worker_init) == (7, "y")


def test_literals():
    assert literal({"a": [True, "x", 1.5]}) == '{ a = [true, "x", 1.5] }'
    assert len(literal("x" * 1000)) == 200
