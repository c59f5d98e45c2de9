"""``parsl.configs.ASPIRE1``: site aspire1 of plait's catalogue."""

from plait.compat.parsl.configs._sites import config_of

config = config_of("aspire1")
