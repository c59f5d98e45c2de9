"""``parsl.providers.googlecloud``."""

from plait.compat.parsl._lazy import lazy

__getattr__ = lazy(__name__)
