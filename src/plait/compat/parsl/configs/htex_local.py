"""``parsl.configs.htex_local``."""

from plait.compat.parsl.config import Config
from plait.compat.parsl.executors.high_throughput.executor import HighThroughputExecutor
from plait.compat.parsl.providers import LocalProvider

config = Config(executors=[HighThroughputExecutor(label="htex_local", cores_per_worker=1, provider=LocalProvider())])
