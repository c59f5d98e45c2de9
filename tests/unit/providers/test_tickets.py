"""A ticket is enough to find a job again."""

from __future__ import annotations

import importlib

import pytest

from plait.errors import ConfigurationError
from plait.providers.tickets import SYSTEMS, recall


@pytest.mark.parametrize("ticket", [{}, {"system": "abacus", "job": "1"}])
def test_systems_that_nobody_knows(ticket):
    with pytest.raises(ConfigurationError, match="expected one of aws, "):
        recall(ticket)


@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_every_system_has_its_provider(system):
    module, _, name = SYSTEMS[system].partition(":")
    kind = getattr(importlib.import_module(f"plait.providers.{module}"), name)
    assert hasattr(kind, "from_ticket") or hasattr(kind, "adopt")
