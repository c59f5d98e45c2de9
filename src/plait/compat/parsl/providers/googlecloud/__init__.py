"""``parsl.providers.googlecloud``."""
