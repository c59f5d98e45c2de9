"""``parsl.configs.polaris``: site polaris of plait's catalogue."""

from plait.compat.parsl.configs._sites import config_of

config = config_of("polaris")
