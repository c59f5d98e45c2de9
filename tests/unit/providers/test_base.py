from __future__ import annotations

import pytest

from plait.errors import ConfigurationError
from plait.providers.base import ExecutionProvider, check_blocks


def test_a_provider_needs_its_methods():
    with pytest.raises(TypeError):
        ExecutionProvider()


@pytest.mark.parametrize("numbers", [(1, 1, 0, 1, 1), (1, 0, 0, 0, 0), (4, 2, 2, 8, 0.5)])
def test_numbers_that_work(numbers):
    check_blocks("P", *numbers)


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0, 1, 0, 1, 1), "P(nodes_per_block=0): expected a whole number from 1"),
        ((1, 1, -1, 1, 1), "P(min_blocks=-1)"),
        ((1, True, 0, 1, 1), "P(init_blocks=True)"),
        ((1, 1, 0, 1.0, 1), "P(max_blocks=1.0)"),
        ((1, 3, 0, 2, 1), "P(init_blocks=3, min_blocks=0, max_blocks=2): expected min_blocks and init_blocks of at most max_blocks"),
        ((1, 1, 3, 2, 1), "at most max_blocks"),
        ((1, 1, 0, 1, 1.01), "P(parallelism=1.01): expected a number from 0 to 1"),
        ((1, 1, 0, 1, float("nan")), "parallelism"),
        ((1, 1, 0, 1, True), "parallelism"),
    ],
)  # fmt: skip
def test_numbers_that_do_not(numbers, text):
    with pytest.raises(ConfigurationError) as info:
        check_blocks("P", *numbers)
    assert text in str(info.value)
