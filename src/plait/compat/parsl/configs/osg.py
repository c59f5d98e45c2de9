"""``parsl.configs.osg``: site osg of plait's catalogue."""

from plait.compat.parsl.configs._sites import config_of

config = config_of("osg")
