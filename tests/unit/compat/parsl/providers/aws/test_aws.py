from __future__ import annotations

import pytest

from plait.compat.parsl.launchers import SimpleLauncher
from plait.compat.parsl.providers import AWSProvider as Short
from plait.compat.parsl.providers.aws.aws import AWSProvider
from plait.providers import AWSProvider as Own


def test_it_takes_the_parameters_in_their_order():
    provider = AWSProvider(
        "ami-1", "key", 0, 0, 4, 2, 0.5, "export A=1", "m7i.large", "eu-west-1", 0.1, "keys.json", "me", "arn:aws:iam::1:x/y", "state.json", "00:30:00",
        True, SimpleLauncher(),
    )  # fmt: skip
    assert isinstance(provider, Own)
    assert Short is AWSProvider
    assert (provider.image_id, provider.key_name, provider.max_blocks, provider.nodes_per_block) == (
        "ami-1",
        "key",
        4,
        2,
    )
    assert (provider.worker_init, provider.instance_type, provider.region, provider.spot_max_bid) == (
        "export A=1",
        "m7i.large",
        "eu-west-1",
        0.1,
    )
    assert (provider.key_file, provider.profile, provider.state_file, provider.walltime) == (
        "keys.json",
        "me",
        "state.json",
        "00:30:00",
    )
    assert (provider.iam_instance_profile_arn, provider.linger) == ("arn:aws:iam::1:x/y", True)
    assert isinstance(provider.launcher, SimpleLauncher)


def test_its_defaults_are_upstreams():
    assert "max_blocks=10" in repr(AWSProvider("ami-1", "key"))


def test_more_blocks_than_there_may_be_are_taken_with_a_word():
    with pytest.warns(UserWarning, match="taken as max_blocks=4"):
        assert AWSProvider("ami-1", "key", init_blocks=4, max_blocks=2).max_blocks == 4
