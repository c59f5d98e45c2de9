"""``parsl.jobs``."""

from plait.compat.parsl._lazy import lazy

__getattr__ = lazy(__name__, "error_handlers", "errors", "job_status_poller", "states", "strategy")
