"""``parsl.providers.grid_engine``."""
