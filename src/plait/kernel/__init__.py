"""The wiring of one run."""

from plait.kernel.arguments import AUTO_LOGNAME
from plait.kernel.kernel import DataFlowKernel
from plait.kernel.loader import DataFlowKernelLoader

__all__ = ["AUTO_LOGNAME", "DataFlowKernel", "DataFlowKernelLoader"]
