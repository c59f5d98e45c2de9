"""``parsl.serialize``."""

from plait.compat.parsl._lazy import lazy
from plait.compat.parsl.serialize.facade import deserialize, pack_apply_message, serialize, unpack_apply_message

__all__ = ["deserialize", "pack_apply_message", "serialize", "unpack_apply_message"]

__getattr__ = lazy(__name__)
