"""``parsl.configs.frontera``: site frontera of plait's catalogue."""

from plait.compat.parsl.configs._sites import config_of

config = config_of("frontera")
