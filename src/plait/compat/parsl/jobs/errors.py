"""``parsl.jobs.errors``."""

from plait.errors import TooManyJobFailuresError

__all__ = ["TooManyJobFailuresError"]
