from __future__ import annotations

import pytest

from plait.compat.parsl.launchers import SimpleLauncher
from plait.compat.parsl.providers import GoogleCloudProvider as Short
from plait.compat.parsl.providers.googlecloud.googlecloud import GoogleCloudProvider
from plait.providers import GoogleCloudProvider as Own


def test_it_takes_the_parameters_in_their_order():
    provider = GoogleCloudProvider(
        "lab-1",
        "key.json",
        "us-central1",
        "debian-cloud",
        "debian-12",
        "v1",
        "n2-standard-2",
        0,
        0,
        4,
        SimpleLauncher(),
        0.5,
    )
    assert isinstance(provider, Own)
    assert Short is GoogleCloudProvider
    assert (provider.project_id, provider.key_file, provider.region) == ("lab-1", "key.json", "us-central1")
    assert (provider.os_project, provider.os_family, provider.google_version) == ("debian-cloud", "debian-12", "v1")
    assert (provider.instance_type, provider.max_blocks, provider.parallelism) == ("n2-standard-2", 4, 0.5)
    assert isinstance(provider.launcher, SimpleLauncher)
    assert "os_family" not in repr(provider)  # shown by its value, as upstream shows what has no default


def test_more_blocks_than_there_may_be_are_taken_with_a_word():
    with pytest.warns(UserWarning, match="taken as max_blocks=4"):
        GoogleCloudProvider("lab-1", None, "us-central1", "debian-cloud", "debian-12", init_blocks=4, max_blocks=2)
