"""``parsl.providers.condor``."""
