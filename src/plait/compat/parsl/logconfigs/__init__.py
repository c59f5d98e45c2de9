"""``parsl.logconfigs``."""
