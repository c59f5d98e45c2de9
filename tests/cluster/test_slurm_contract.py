"""`SlurmProvider` keeps the promises of the port, on a real Slurm."""

from __future__ import annotations

import pytest

from plait.providers import SlurmProvider
from plait.testing.provider_contract import ProviderContract


class TestSlurm(ProviderContract):
    timeout_s = 30.0

    @pytest.fixture(autouse=True)
    def _on(self, slurm):
        """The commands are those of the test bed."""

    def make(self, **numbers):
        return SlurmProvider(**{"walltime": "00:05:00", "exclusive": False, **numbers})
