"""``parsl.providers.kubernetes``."""
