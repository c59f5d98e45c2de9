from __future__ import annotations

import pytest

from plait.compat.parsl.providers import KubernetesProvider as Short
from plait.compat.parsl.providers.kubernetes.kube import KubernetesProvider
from plait.providers import KubernetesProvider as Own


def test_it_takes_the_parameters_in_their_order():
    provider = KubernetesProvider(
        "image", "lab", 2, 0, 0, 4, 3, "1Gi", 1.5, "500Mi", {"a/b": "1"}, {"a/b": "2"}, 0.5, "export A=1", "worker", "1000", "100", True, "pull",
        [("claim", "/data")], "account", {"note": "x"},
    )  # fmt: skip
    assert isinstance(provider, Own)
    assert Short is KubernetesProvider
    assert (provider.namespace, provider.nodes_per_block, provider.max_blocks, provider.parallelism) == (
        "lab",
        2,
        4,
        0.5,
    )
    assert (provider.max_cpu, provider.max_mem, provider.init_cpu, provider.init_mem) == (3, "1Gi", 1.5, "500Mi")
    assert (provider.extra_requests, provider.extra_limits) == ({"a/b": "1"}, {"a/b": "2"})
    assert (provider.worker_init, provider.pod_name, provider.user_id, provider.group_id) == (
        "export A=1",
        "worker",
        1000,
        100,
    )
    assert (provider.run_as_non_root, provider.secret, provider.persistent_volumes) == (
        True,
        "pull",
        [("claim", "/data")],
    )
    assert (provider.service_account_name, provider.annotations) == ("account", {"note": "x"})


def test_its_defaults_are_upstreams():
    provider = KubernetesProvider("image")
    assert (provider.init_blocks, provider.min_blocks, provider.max_blocks) == (4, 0, 10)
    assert "namespace='default'" in repr(provider)


def test_more_blocks_than_there_may_be_are_taken_with_a_word():
    with pytest.warns(UserWarning, match="taken as max_blocks=4"):
        assert KubernetesProvider("image", max_blocks=2).max_blocks == 4


def test_what_upstream_has_removed_does_nothing():
    with pytest.warns(FutureWarning, match="KubernetesProvider\\(channel=…\\)"):
        KubernetesProvider("image", channel=None)
