"""``parsl.configs.stampede2``: site stampede2 of plait's catalogue."""

from plait.compat.parsl.configs._sites import config_of

config = config_of("stampede2")
