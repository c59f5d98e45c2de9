"""``parsl.configs.ec2``: site ec2 of plait's catalogue."""

from plait.compat.parsl.configs._sites import config_of

config = config_of("ec2")
