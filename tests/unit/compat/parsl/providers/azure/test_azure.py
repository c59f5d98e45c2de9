from __future__ import annotations

import pytest

from plait.compat.parsl.launchers import SimpleLauncher
from plait.compat.parsl.providers import AzureProvider as Short
from plait.compat.parsl.providers.azure.azure import AzureProvider
from plait.providers import AzureProvider as Own

MACHINE = {
    "publisher": "Canonical", "offer": "ubuntu", "sku": "server", "version": "latest", "vm_size": "Standard_D2s_v5", "disk_size_gb": 10,
    "admin_username": "me", "password": "Very-secret-1",
}  # fmt: skip


def test_it_takes_the_parameters_in_their_order():
    provider = AzureProvider(
        MACHINE, 0, 0, 4, 0.5, "export A=1", "northeurope", "group", "key", "keys.json", "net", True, SimpleLauncher()
    )
    assert isinstance(provider, Own)
    assert Short is AzureProvider
    assert (provider.max_blocks, provider.parallelism, provider.worker_init) == (4, 0.5, "export A=1")
    assert (provider.location, provider.group_name, provider.key_name) == ("northeurope", "group", "key")
    assert (provider.key_file, provider.vnet_name, provider.linger) == ("keys.json", "net", True)
    assert isinstance(provider.launcher, SimpleLauncher)


def test_its_text_has_no_password():
    assert "Very-secret-1" not in repr(AzureProvider(MACHINE))
    assert "parsl.group" in repr(AzureProvider(MACHINE))


def test_more_blocks_than_there_may_be_are_taken_with_a_word():
    with pytest.warns(UserWarning, match="taken as max_blocks=4"):
        assert AzureProvider(MACHINE, init_blocks=4, max_blocks=2).max_blocks == 4
