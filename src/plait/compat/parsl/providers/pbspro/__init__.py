"""``parsl.providers.pbspro``."""
