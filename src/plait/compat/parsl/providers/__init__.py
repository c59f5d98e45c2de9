"""``parsl.providers``."""

from plait.compat.parsl._lazy import lazy
from plait.compat.parsl.providers.local.local import LocalProvider

__all__ = ["LocalProvider"]

__getattr__ = lazy(__name__, "base", "errors", "local")
