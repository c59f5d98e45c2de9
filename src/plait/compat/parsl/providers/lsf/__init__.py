"""``parsl.providers.lsf``."""
