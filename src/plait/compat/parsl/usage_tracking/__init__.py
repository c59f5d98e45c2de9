"""``parsl.usage_tracking``: nothing is ever sent."""
