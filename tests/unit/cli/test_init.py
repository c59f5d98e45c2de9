from __future__ import annotations

import json

import pytest

import plait
from plait.cli import init as module
from plait.cli.init import Order, init, of_machine
from plait.errors import ConfigurationError
from plait.sites.machine import SCHEDULERS, Machine
from plait.sites.queues import Queue


def scheduler(system):
    return next(each for each in SCHEDULERS if each.system == system)


SLURM = Machine(
    schedulers=(scheduler("slurm"), scheduler("condor")),
    queues=[
        Queue("debug", default=True, walltime_s=1800, nodes=4, cores=64, memory_gb=250, gpus=4, gpu_kind="a100"),
        Queue("long"),
    ],
    interfaces=(("ib0", "10.1.0.1"), ("eth0", "10.2.0.1")),
    activation=("source '/home/me/my env/bin/activate'",),
    modules=("gcc/12",),
    accounts=("chem", "physics"),
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder, and a machine with Slurm."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(module, "look", lambda scheduler, addresses: SLURM if scheduler is None else Machine())
    return tmp_path


@pytest.mark.parametrize("system", [each.system for each in SCHEDULERS])
def test_what_is_written_for_each_batch_system_can_be_read(system):
    for queues in (None, SLURM.queues):
        text = of_machine(Machine(schedulers=(scheduler(system),), queues=queues, activation=SLURM.activation))
        try:
            (executor,) = plait.Config.from_toml(text).executors
        except plait.errors.OptionalModuleMissing as error:
            pytest.skip(str(error))
        assert type(executor.provider).__name__ == scheduler(system).provider
        assert executor.label == system
        assert bool(executor.provider.worker_init) == (system != "kubernetes")


@pytest.mark.parametrize(("found", "launcher"), [(None, "SimpleLauncher"), ("/bin/aprun", "AprunLauncher")])
def test_torque_without_aprun_starts_its_one_node_itself(monkeypatch, found, launcher):
    monkeypatch.setattr(module.shutil, "which", lambda _: found)
    text = of_machine(Machine(schedulers=(scheduler("torque"),)))
    assert type(plait.Config.from_toml(text).executors[0].provider.launcher).__name__ == launcher


def test_what_was_found_is_in_the_file(here, capsys):
    assert init(Order(), as_json=False) == 0
    text = (here / "plait.toml").read_text()
    for line in (
        "#   debug: walltime 00:30:00, 4 nodes, 64 cores, 250 GB, 4 GPUs (a100) (the default)",
        "#   long: walltime no limit",
        'partition = "debug"',
        'walltime = "00:30:00"        # of one block',
        "gpus_per_node = 4",
        '# account = "…"              # whose time is used; yours: chem, physics',
        "available_accelerators = 4     # GPUs of a node: each is given to one worker",
        '# address = "10.1.0.1"    # ib0',
    ):
        assert line in text.splitlines()
    provider = plait.Config.from_toml(here / "plait.toml").executors[0].provider
    assert provider.worker_init == "module load gcc/12\nsource '/home/me/my env/bin/activate'"
    assert type(provider.launcher).__name__ == "SrunLauncher"
    out = capsys.readouterr().out
    assert "Found Slurm (also HTCondor: --scheduler condor)." in out
    assert "plait check plait.toml --submit" in out


def test_a_file_is_never_written_over_by_itself(here):
    (here / "plait.toml").write_text("mine")
    with pytest.raises(ConfigurationError, match="plait.toml is there already; --force writes over it"):
        init(Order(), as_json=False)
    assert (here / "plait.toml").read_text() == "mine"
    init(Order(show=True), as_json=False)
    assert (here / "plait.toml").read_text() == "mine"
    init(Order(force=True), as_json=False)
    assert "SlurmProvider" in (here / "plait.toml").read_text()
    assert [each.name for each in here.iterdir()] == ["plait.toml"]
    with pytest.raises(ConfigurationError, match="nowhere/x.toml: it cannot be written"):
        init(Order(file="nowhere/x.toml"), as_json=False)


def test_a_file_that_comes_meanwhile_is_not_written_over(here, monkeypatch):
    def look(*_):
        (here / "plait.toml").write_text("meanwhile")
        return Machine()

    monkeypatch.setattr(module, "look", look)
    with pytest.raises(ConfigurationError, match="File exists"):
        init(Order(), as_json=False)
    assert (here / "plait.toml").read_text() == "meanwhile"
    assert [each.name for each in here.iterdir()] == ["plait.toml"]


def test_the_shape_follows_the_queue_that_was_named(here):
    init(Order(values=("partition=long",)), as_json=False)
    provider = plait.Config.from_toml(here / "plait.toml").executors[0].provider
    assert (provider.partition, provider.walltime, provider.gpus_per_node) == ("long", "01:00:00", None)


def test_values_go_where_they_fit(here):
    init(
        Order(values=("account=m1234", "max_blocks=9", "exclusive=false", "worker_init=module load x", "retries=2")),
        as_json=False,
    )
    config = plait.Config.from_toml(here / "plait.toml")
    provider = config.executors[0].provider
    assert (provider.account, provider.max_blocks, provider.exclusive, config.retries) == ("m1234", 9, False, 2)
    assert provider.worker_init == "module load x"
    assert "# of one block" in (here / "plait.toml").read_text()  # comments stay
    for values, message in (
        (("acount=x",), "did you mean account"),
        (("max_blocks=many",), r'provider.max_blocks = "many": expected a whole number'),
        (("nodes_per_block=0",), "nodes_per_block = 0: expected a whole number from 1"),
        (("account",), "expected NAME=VALUE"),
        (("a b=1",), "expected NAME=VALUE"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            init(Order(values=values, show=True), as_json=False)


def test_a_number_where_text_is_expected_is_text(here):
    init(Order(values=("account=1_234", "partition=7")), as_json=False)
    provider = plait.Config.from_toml(here / "plait.toml").executors[0].provider
    assert (provider.account, provider.partition) == ("1_234", "7")


def test_printing_and_data(here, capsys):
    init(Order(show=True), as_json=False)
    assert plait.Config.from_toml(capsys.readouterr().out)
    init(Order(), as_json=True)
    data = json.loads(capsys.readouterr().out)
    assert data["file"] == "plait.toml"
    assert data["machine"]["queues"][0]["name"] == "debug"
    assert data["text"] == (here / "plait.toml").read_text()


def test_other_schedulers(here, capsys):
    init(Order(scheduler="none"), as_json=False)
    assert "Found no batch system" in capsys.readouterr().out
    assert type(plait.Config.from_toml(here / "plait.toml").executors[0].provider).__name__ == "LocalProvider"
    with pytest.raises(ConfigurationError, match="--scheduler slrum: expected one of slurm, flux"):
        init(Order(scheduler="slrum"), as_json=False)


SITE = """
[site]
centre = "C"
description = "D"
needs = ["account"]
notes = "Mind the gap."
environment = { HERE = "x" }
[[executors]]
type = "HighThroughputExecutor"
[executors.provider]
type = "SlurmProvider"
"""


def test_sites(here, capsys, monkeypatch):
    folder = here / "plait" / "sites"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text(SITE)
    init(Order(site="mine"), as_json=False)
    out = capsys.readouterr().out
    assert "mine: D (C)\nMind the gap.\nIt needs account from you" in out
    with pytest.raises(ConfigurationError, match="executors\\[0\\].provider.account must be given"):
        plait.Config.from_toml(here / "plait.toml")
    init(Order(site="mine", values=("account=a",), force=True), as_json=False)
    assert "It needs" not in capsys.readouterr().out
    assert plait.Config.from_toml(here / "plait.toml").executors[0].provider.account == "a"
    monkeypatch.setenv("HERE", "x")
    init(Order(force=True), as_json=False)
    assert "This looks like mine of the catalogue: `plait init --site mine --force`" in capsys.readouterr().out
    (folder / "wrong.toml").write_text("x = 1")
    init(Order(force=True), as_json=False)
    assert "wrong.toml: a site needs a table [site]" in capsys.readouterr().err
