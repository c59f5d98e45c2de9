"""``parsl.executors.high_throughput.process_worker_pool``: what programs import from there. The process itself is plait's own."""

from plait.compat.parsl.executors.execute_task import execute_task
from plait.compat.parsl.executors.high_throughput.errors import WorkerLost

__all__ = ["WorkerLost", "execute_task"]
