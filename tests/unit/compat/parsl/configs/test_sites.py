from __future__ import annotations

import importlib

import pytest

from plait.compat.parsl import providers
from plait.compat.parsl.config import Config
from plait.compat.parsl.configs._sites import config_of
from plait.compat.parsl.executors import HighThroughputExecutor
from plait.compat.parsl.launchers import SrunLauncher
from plait.errors import ConfigurationError
from plait.sites import find_site

#: Machines that Parsl bundles, and what plait's catalogue calls them.
BUNDLED = {
    "ASPIRE1": "aspire1",
    "Azure": "azure",
    "anvil": "anvil",
    "bridges": "bridges2",
    "cc_in2p3": "cc_in2p3",
    "delta": "delta",
    "ec2": "ec2",
    "expanse": "expanse",
    "frontera": "frontera",
    "illinoiscluster": "illinoiscluster",
    "improv": "improv",
    "kubernetes": "kubernetes",
    "midway": "midway3",
    "osg": "osg",
    "polaris": "polaris",
    "stampede2": "stampede2",
    "summit": "summit",
    "toss3_llnl": "toss3_llnl",
}


@pytest.mark.parametrize(("module", "site"), BUNDLED.items())
def test_a_bundled_configuration_is_the_site(module, site):
    """With a word in capitals for each thing that only the user knows."""
    config = importlib.import_module(f"parsl.configs.{module}").config
    assert isinstance(config, Config)
    (executor,) = config.executors
    assert isinstance(executor, HighThroughputExecutor)
    for need in find_site(site).needs:
        assert "YOUR_" in str(getattr(executor.provider, need))
    config.as_plait()


def test_classes_are_those_that_programs_ask_for():
    (executor,) = config_of("anvil").executors
    assert isinstance(executor.provider, providers.SlurmProvider)
    assert isinstance(executor.provider.launcher, SrunLauncher)
    assert (executor.provider.partition, executor.provider.cores_per_node) == ("wholenode", 128)
    assert executor.max_workers_per_node == 128


def test_parameters_that_parsl_does_not_have_are_plaits():
    (executor,) = config_of("osg").executors
    assert executor.provider.shared_files is False


def test_there_is_no_such_site():
    with pytest.raises(ConfigurationError, match="no such site"):
        config_of("nowhere-land")
