"""``parsl.jobs``."""
