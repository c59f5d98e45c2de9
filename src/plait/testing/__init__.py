"""For those who write executors or providers, or tests of programs that use plait.

`plait.testing.executor_contract.ExecutorContract`, `plait.testing.crash_matrix.CrashMatrix` and `plait.testing.provider_contract.ProviderContract`
are suites for pytest that every executor, and every provider, passes. `plait.testing.FakeProvider` is a batch system that fails and lies on demand.
All are imported where they are used: this package itself needs nothing but plait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plait.testing.fake_provider import FakeJob, FakeProvider, Plan

__all__ = ["FakeJob", "FakeProvider", "Plan"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'plait.testing' has no attribute {name!r}")
    from plait.testing import fake_provider

    return getattr(fake_provider, name)
