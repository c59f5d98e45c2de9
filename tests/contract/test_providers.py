"""Every provider keeps the promises of the port."""

from __future__ import annotations

from plait.model.jobs import JobState
from plait.providers import LocalProvider
from plait.testing import FakeProvider, Plan
from plait.testing.provider_contract import ProviderContract


class TestLocal(ProviderContract):
    def make(self, **numbers):
        return LocalProvider(**numbers)


class TestFake(ProviderContract):
    def make(self, **numbers):
        return FakeProvider(**numbers)

    def begin_ending(self, provider, exit_code):
        end = JobState.FAILED if exit_code else JobState.COMPLETED
        provider._plans = [Plan(run_s=0.0, end=end, exit_code=exit_code, stdout="out\n", stderr="err\n")]
        try:
            return super().begin_ending(provider, exit_code)
        finally:
            provider._plans = [Plan()]
