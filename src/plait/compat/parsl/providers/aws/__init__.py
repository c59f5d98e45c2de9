"""``parsl.providers.aws``."""
