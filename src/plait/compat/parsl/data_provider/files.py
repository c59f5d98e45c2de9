"""``parsl.data_provider.files``."""

from plait.model.files import File

__all__ = ["File"]
