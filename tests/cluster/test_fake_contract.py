"""The providers of batch systems that run nowhere here keep the promises of the port, against scripted fakes of their commands."""

from __future__ import annotations

import pytest

from plait.launchers import SimpleLauncher
from plait.providers import CondorProvider, FluxProvider, LSFProvider, PBSProProvider, TorqueProvider
from tests.fakes.fixtures import fake_of  # noqa: F401 - a fixture
from tests.support import wait_until

pytest.register_assert_rewrite("plait.testing.provider_contract")

from plait.testing.provider_contract import ProviderContract  # noqa: E402 - after its assertions were registered


class OnAFake(ProviderContract):
    system = ""
    kind = None

    @pytest.fixture(autouse=True)
    def fake(self, fake_of):  # noqa: F811
        self.scheduler = fake_of(self.system)

    def wait_for(self, provider, job_id, *states):
        """Asks only when something has happened."""

        def there():
            if not self.scheduler.news():
                return None
            (status,) = provider.status([job_id])
            return status.state in states and status

        (status,) = provider.status([job_id])
        return status if status.state in states else wait_until(there, self.timeout_s, self.scheduler.jobs)

    def make(self, **numbers):
        if "nodes_per_block" not in numbers:
            numbers["nodes_per_block"] = 1
        return self.kind(launcher=SimpleLauncher(), **numbers)


class TestPBSPro(OnAFake):
    system, kind = "pbspro", PBSProProvider


class TestTorque(OnAFake):
    system, kind = "torque", TorqueProvider


class TestLSF(OnAFake):
    system, kind = "lsf", LSFProvider


class TestCondor(OnAFake):
    system, kind = "condor", CondorProvider


class TestFlux(OnAFake):
    system, kind = "flux", FluxProvider


del OnAFake  # is no suite of its own
