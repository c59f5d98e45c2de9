from __future__ import annotations

import pytest

from plait.compat.parsl.channels import LocalChannel
from plait.compat.parsl.launchers import SimpleLauncher
from plait.compat.parsl.launchers.base import Launcher
from plait.compat.parsl.providers import CondorProvider, LocalProvider
from plait.compat.parsl.providers.base import ExecutionProvider
from plait.errors import BadLauncher, ConfigurationError


def test_it_shows_its_parameters():
    provider = LocalProvider(init_blocks=0, launcher=SimpleLauncher(), worker_init="module load x")
    assert isinstance(provider, ExecutionProvider)
    assert "init_blocks=0" in repr(provider)
    assert "worker_init='module load x'" in repr(provider)


class Old(Launcher):
    def __call__(self, command, tasks_per_node, nodes_per_block):
        return command


def test_launchers_that_know_no_folder():
    assert LocalProvider(launcher=Old()).launcher("date", 1, 1, "folder") == "date"


def test_a_launcher_that_is_none():
    with pytest.raises(BadLauncher):
        LocalProvider(launcher="srun")


def test_more_blocks_at_the_start_than_there_may_be():
    with pytest.warns(UserWarning, match="max_blocks=3"):
        assert LocalProvider(init_blocks=3).max_blocks == 3


@pytest.mark.parametrize("name", ["nodes_per_block", "init_blocks", "min_blocks", "max_blocks"])
@pytest.mark.parametrize("provider", [LocalProvider, CondorProvider])
def test_numbers_of_blocks_that_are_none(provider, name):
    with pytest.raises(ConfigurationError, match=rf"Provider\({name}='2'\): expected a whole number"):
        provider(**{name: "2"})


def test_parameters_of_former_versions():
    with pytest.warns(FutureWarning, match="channels"):
        channel = LocalChannel(script_dir=".")
    with pytest.warns(FutureWarning, match="channel=…"):
        LocalProvider(channel=channel)
    with pytest.raises(TypeError, match="unexpected keyword argument 'zork'"):
        LocalProvider(zork=1)


class Mine(LocalProvider):
    """As users derive from it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.commands = []

    def submit(self, command, tasks_per_node, job_name="mine"):
        self.commands.append(command)
        return super().submit(command, tasks_per_node, job_name)


def test_it_can_be_derived_from(tmp_path):
    provider = Mine(launcher=SimpleLauncher())
    provider.script_dir = str(tmp_path)
    job = provider.submit("sleep 60", 1)
    assert provider.status([job])[0].status_name == "RUNNING"
    assert provider.cancel([job]) == [True]
    assert provider.status([job])[0].terminal
    assert provider.commands == ["sleep 60"]
