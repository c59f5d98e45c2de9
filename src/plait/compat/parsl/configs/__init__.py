"""``parsl.configs``."""
