"""``parsl.configs.delta``: site delta of plait's catalogue."""

from plait.compat.parsl.configs._sites import config_of

config = config_of("delta")
