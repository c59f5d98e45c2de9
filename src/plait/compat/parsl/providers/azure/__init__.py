"""``parsl.providers.azure``."""
