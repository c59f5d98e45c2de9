"""Executors: where tasks run."""

from plait.executors.base import Executor, ExecutorContext, ExecutorStatus
from plait.executors.processes import ProcessPoolExecutor
from plait.executors.threads import ThreadPoolExecutor

__all__ = ["Executor", "ExecutorContext", "ExecutorStatus", "ProcessPoolExecutor", "ThreadPoolExecutor"]
