"""Administrators' rules: what they say, whom they bind, and that a slip of the pen in them is seen."""

from __future__ import annotations

from typing import Any

import pytest

import plait
from plait.cli.dry_run import submission
from plait.configfile import rules, system
from plait.errors import ConfigurationError
from plait.launchers import WrappedLauncher
from plait.providers import LocalProvider, SlurmProvider, SSHProvider


class Site(LocalProvider):
    """A provider of the user's own does not get around the rules of the one that it is made from."""


class Batch(LocalProvider):
    def __init__(self, walltime: Any = "00:10:00", account: str | None = None, memory: Any = None, **rest: Any):
        super().__init__(**rest)
        self.walltime, self.account, self.memory = walltime, account, memory


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes the system's file."""
    path = tmp_path / "plait.toml"
    monkeypatch.setattr(system, "SYSTEM", str(path))
    monkeypatch.delenv(system.VARIABLE, raising=False)

    def write(text):
        path.write_text(text.replace("Batch", f'"{__name__}:Batch"'))
        return path

    return write


def refused(provider):
    with pytest.raises(ConfigurationError) as caught:
        rules.enforce(provider)
    return str(caught.value)


def test_limits_name_file_key_value_and_cap(write):
    path = write('contact = "mail help@site"\n[limits.LocalProvider]\nmax_blocks = 10\n')
    rules.enforce(LocalProvider(max_blocks=10))
    assert refused(LocalProvider(max_blocks=11)) == (
        f"LocalProvider(max_blocks=11): expected at most 10 here ({path}, [limits.LocalProvider] max_blocks); mail help@site"
    )
    assert refused(Site(max_blocks=11)).startswith("Site(max_blocks=11): expected at most 10")


@pytest.mark.parametrize(
    ("limit", "within", "beyond"),
    [
        ('walltime = "24:00:00"', ["24:00:00", "1d", 86400, "10m"], ["24:00:01", "2d", 86401, None, "soon"]),
        ('memory = "4GB"', ["4GB", "3GiB", 5, None, "500Mi"], ["5GB", "4Gi", "much"]),
        ("memory = 4", [4, 0.5, None], [4.5, "5"]),
    ],
)
def test_numbers_times_and_sizes(write, limit, within, beyond):
    write(f"[limits.Batch]\n{limit}\n")
    name = limit.split()[0]
    for value in within:
        rules.enforce(Batch(**{name: value}))
    for value in beyond:
        assert "expected" in refused(Batch(**{name: value}))


def test_pins_are_filled_in_and_cannot_be_changed(write):
    path = write('[pinned.Batch]\naccount = "teaching"\n')
    provider = Batch()
    rules.enforce(provider)
    assert provider.account == "teaching"
    rules.enforce(Batch(account="teaching"))
    assert refused(Batch(account="other")) == (
        f'Batch(account=\'other\'): it is always "teaching" here; leave it out ({path}, [pinned."{__name__}:Batch"] account); ask your administrators'
    )


def test_pins_of_executors_know_what_was_said(write):
    write("[pinned.ProcessPoolExecutor]\nmax_workers = 2\n")
    executor = plait.ProcessPoolExecutor()
    rules.enforce(executor)
    assert executor.max_workers == 2
    assert "it is always 2 here" in refused(plait.ProcessPoolExecutor(max_workers=3))


def test_what_follows_from_a_pinned_value_follows(write):
    write("[pinned.SlurmProvider]\nwalltime = '02:00:00'\n[pinned.WrappedLauncher]\ndebug = false\n")
    provider = SlurmProvider(partition="a", launcher=WrappedLauncher("nice"))
    rules.enforce(provider)
    assert (provider.walltime, provider.walltime_s, provider.partition) == ("02:00:00", 7200, "a")
    assert repr(provider.launcher) == "WrappedLauncher(debug=False, prepend='nice')"
    write("[pinned.SlurmProvider]\nwalltime = 'soon'\n")
    assert "SlurmProvider(walltime='soon'): expected a time" in refused(SlurmProvider())


def test_what_a_constructor_makes_of_a_pinned_value_is_no_other_value(write):
    write("[pinned.HighThroughputExecutor]\nworker_port_range = [50000, 50100]\navailable_accelerators = 2\n")
    executor = plait.HighThroughputExecutor()
    for _ in range(2):
        rules.enforce(executor)
        assert executor.worker_port_range == (50000, 50100)
        assert list(executor.available_accelerators) == ["0", "1"]
    executor.worker_port_range = (1, 2)
    assert "it is always [50000, 50100] here" in refused(executor)


def test_a_default_that_is_more_than_a_limit_becomes_the_limit(write):
    write("[limits.ProcessPoolExecutor]\nmax_workers = 1\n[limits.SlurmProvider]\nwalltime = '00:05:00'\n")
    assert plait.Config().executors[0].max_workers == 1  # whatever this machine has
    assert "at most 1" in refused(plait.ProcessPoolExecutor(max_workers=2))
    provider = SlurmProvider()
    rules.enforce(provider)
    assert provider.walltime_s == 300
    changed = SlurmProvider(walltime="00:01:00")
    changed.walltime = "00:06:00"
    assert 'at most "00:05:00"' in refused(changed)


def test_a_provider_behind_another_is_bound(write):
    write("[pinned.SlurmProvider]\naccount = 'a'\n[limits.SlurmProvider]\nmax_blocks = 3\n")
    outer = SSHProvider(host="login", provider=SlurmProvider(max_blocks=3))
    rules.enforce(plait.HighThroughputExecutor(provider=outer))
    assert outer.provider.account == "a"
    assert "--account=a" in submission(plait.HighThroughputExecutor(provider=outer), "runs").script
    assert "max_blocks=4" in refused(
        plait.HighThroughputExecutor(provider=SSHProvider(host="login", provider=SlurmProvider(max_blocks=4)))
    )


def test_lists_of_what_is_allowed(write):
    write('[allowed.Batch]\naccount = ["a", "b"]\n')
    rules.enforce(Batch())
    rules.enforce(Batch(account="b"))
    assert 'expected "a" or "b" here' in refused(Batch(account="c"))


def test_rules_for_all_providers_and_the_nearest_counts(write):
    write(f"[limits.ExecutionProvider]\nmax_blocks = 4\n[limits.'{__name__}:Site']\nmax_blocks = 8\n")
    assert "at most 4" in refused(LocalProvider(max_blocks=5))
    rules.enforce(Site(max_blocks=8))
    assert "at most 8" in refused(Site(max_blocks=9))


def test_everything_in_a_configuration_is_looked_at(write):
    path = write("[allowed.WrappedLauncher]\nprepend = ['nice']\n")
    provider = LocalProvider(launcher=WrappedLauncher("nohup"))
    executor = plait.HighThroughputExecutor(provider=provider)
    assert "prepend='nohup'" in refused(executor)
    with pytest.raises(ConfigurationError, match=str(path)):
        plait.Config([executor])
    with (
        pytest.raises(ConfigurationError, match=str(path)),
        plait.load(plait.Config([plait.ThreadPoolExecutor()])) as kernel,
    ):
        kernel.add_executors([executor])


def test_what_was_changed_after_the_configuration_was_made_is_seen_when_it_is_loaded(write):
    write("[limits.ThreadPoolExecutor]\nmax_threads = 3\n")
    with plait.load(plait.Config([plait.ThreadPoolExecutor()])):
        pass  # the kernel's own threads are not what is meant
    config = plait.Config([plait.ThreadPoolExecutor()])
    config.executors[0].max_threads = 4
    with pytest.raises(ConfigurationError, match="at most 3"):
        plait.load(config)


def test_in_a_file_it_is_said_with_line_and_path(write):
    path = write("[limits.ExecutionProvider]\nmax_blocks = 2\n")
    text = (
        '[[executors]]\ntype = "HighThroughputExecutor"\n[executors.provider]\ntype = "LocalProvider"\nmax_blocks = 3\n'
    )
    with pytest.raises(ConfigurationError) as caught:
        plait.Config.from_toml(text)
    assert str(caught.value) == (
        f"the text, line 5: executors[0].provider.max_blocks = 3: expected at most 2 here ({path}, "
        "[limits.ExecutionProvider] max_blocks); ask your administrators"
    )


def test_defaults_and_pins_for_files(write):
    write('[defaults.Batch]\naccount = "a"\nmemory = 1\n[pinned.Batch]\nmemory = 2\n')
    assert rules.defaults_of(Batch) == {"account": "a", "memory": 2}
    assert rules.defaults_of(LocalProvider) == {}


def test_a_changed_file_is_read_again(write):
    write("[limits.LocalProvider]\nmax_blocks = 4\n")
    rules.enforce(LocalProvider(max_blocks=4))
    write("[limits.LocalProvider]\nmax_blocks = 3 # less\n")
    assert "at most 3" in refused(LocalProvider(max_blocks=4))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[limit.LocalProvider]\nmax_blocks = 1", "line 1: limit: there is no such table; did you mean limits?"),
        ("[x.LocalProvider]\nmax_blocks = 1", "x: there is no such table; expected some of defaults, pinned, limits, allowed, contact"),
        ("[limits]\nmax_blocks = 1", "line 1: limits: expected tables of classes, such as [limits.SlurmProvider]"),
        ("limits = 3", "limits: expected tables of classes"),
        ("[limits.LocalProvider]\nmax_block = 1", "line 2: limits.LocalProvider.max_block: there is no such parameter of LocalProvider; did you mean max_blocks?"),
        ("[limits.LocalProvider]\nmax_blocks = 'many'", 'limits.LocalProvider.max_blocks = "many": expected a number, a time'),
        ("[allowed.LocalProvider]\nmax_blocks = 1", "allowed.LocalProvider.max_blocks = 1: expected a list of values"),
        ("[limits.LocalProvidr]\nmax_blocks = 1", "limits.LocalProvidr.max_blocks: there is no class 'LocalProvidr' in plait; did you mean LocalProvider?"),
        ("[limits.ExecutionProvider]\nmax_block = 1", "there is no such parameter of ExecutionProvider; did you mean max_blocks?"),
        ("[pinned.Config]\nretires = 1", "there is no such parameter of Config; did you mean retries?"),
        ("contact = 1", "contact = 1: expected text"),
        ("[limits", "this is no TOML"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_stops_everything(write, text, message):
    path = write(text)
    with pytest.raises(ConfigurationError) as caught:
        plait.Config()
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_what_would_be_permitted(write):
    write(
        "[pinned.LocalProvider]\ninit_blocks = 0\n[allowed.LocalProvider]\nmin_blocks = [0, 1]\n[limits.LocalProvider]\nmax_blocks = 3\n"
    )
    asked = [
        ("init_blocks", 0),
        ("init_blocks", 1),
        ("min_blocks", 1),
        ("min_blocks", 2),
        ("max_blocks", 3),
        ("max_blocks", 4),
    ]
    assert [rules.permits(Site(), name, value) for name, value in asked] == [True, False, True, False, True, False]


def test_no_file_no_rules(write, tmp_path):
    assert rules.system_rules() == []
    rules.enforce(LocalProvider(max_blocks=1000))
