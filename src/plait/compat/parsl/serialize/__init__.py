"""``parsl.serialize``."""

from plait.compat.parsl.serialize.facade import deserialize, pack_apply_message, serialize, unpack_apply_message

__all__ = ["deserialize", "pack_apply_message", "serialize", "unpack_apply_message"]
