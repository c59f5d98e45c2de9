"""``parsl.providers.torque``."""
