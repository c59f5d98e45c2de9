"""``parsl.providers.base``: the port of providers, which is plait's own."""

from plait.model.jobs import JobStatus
from plait.providers.base import ExecutionProvider

__all__ = ["ExecutionProvider", "JobStatus"]
