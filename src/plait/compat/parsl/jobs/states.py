"""``parsl.jobs.states``."""

from plait.model.jobs import TERMINAL_STATES, JobState, JobStatus

__all__ = ["TERMINAL_STATES", "JobState", "JobStatus"]
