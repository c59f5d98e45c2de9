"""``parsl.configs.midway``: site midway3 of plait's catalogue."""

from plait.compat.parsl.configs._sites import config_of

config = config_of("midway3")
