"""``parsl.providers.local``."""
