"""``parsl.errors``."""

from plait.errors import ConfigurationError, InternalConsistencyError, NoDataFlowKernelError, OptionalModuleMissing
from plait.errors import PlaitError as ParslError

__all__ = [
    "ConfigurationError",
    "InternalConsistencyError",
    "NoDataFlowKernelError",
    "OptionalModuleMissing",
    "ParslError",
]
