"""``parsl.serialize.errors``."""

from plait.errors import DeserializationError, DeserializerPluginError, SerializationError

__all__ = ["DeserializationError", "DeserializerPluginError", "SerializationError"]
