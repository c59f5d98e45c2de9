"""``parsl.configs.cc_in2p3``: site cc_in2p3 of plait's catalogue."""

from plait.compat.parsl.configs._sites import config_of

config = config_of("cc_in2p3")
