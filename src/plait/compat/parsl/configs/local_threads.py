"""``parsl.configs.local_threads``."""

from plait.compat.parsl.config import Config
from plait.compat.parsl.executors.threads import ThreadPoolExecutor

config = Config(executors=[ThreadPoolExecutor()])
