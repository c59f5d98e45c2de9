"""``parsl.configs.toss3_llnl``: site toss3_llnl of plait's catalogue."""

from plait.compat.parsl.configs._sites import config_of

config = config_of("toss3_llnl")
