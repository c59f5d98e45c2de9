"""``parsl.executors.threads``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.compat.parsl.executors.base import ParslExecutor
from plait.compat.parsl.utils import RepresentationMixin
from plait.errors import InvalidResourceSpecification
from plait.executors.threads import ThreadPoolExecutor as _ThreadPoolExecutor

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ThreadPoolExecutor"]


@ParslExecutor.register
class ThreadPoolExecutor(_ThreadPoolExecutor, RepresentationMixin):
    """Threads of the driver. Tasks cannot ask for resources."""

    __repr__ = RepresentationMixin.__repr__

    def __init__(
        self,
        label: str = "threads",
        max_threads: int | None = 2,
        thread_name_prefix: str | None = None,
        storage_access: list[Any] | None = None,
        working_dir: str | None = None,
        remote_monitoring_radio: Any = None,
    ) -> None:
        if max_threads is None:
            import os

            max_threads = min(32, (os.cpu_count() or 1) + 4)  # what the standard library's pool takes None for
        super().__init__(label, max_threads, thread_name_prefix, storage_access, working_dir, remote_monitoring_radio)

        self.given: ThreadPoolExecutor = self  # what the user made; another one after `for_run`

    def for_run(self) -> ThreadPoolExecutor:
        """Itself; after a run, a new one of the same parameters, so that one configuration serves several runs in turn."""
        if not self._stopped:
            return self
        twin = ThreadPoolExecutor(
            self.label,
            self.max_threads,
            self.thread_name_prefix,
            self.storage_access,
            self.working_dir,
            self.remote_monitoring_radio,
        )
        twin.given = self
        return twin

    def monitor_resources(self) -> bool:
        return False

    def check_specification(self, spec: Mapping[str, Any]) -> None:
        """Refuses every specification of resources."""
        raise InvalidResourceSpecification(
            set(spec), f"resource specifications are not supported by ThreadPoolExecutor (label {self.label!r})"
        )
