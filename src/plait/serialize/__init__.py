"""Objects to bytes and back. The only room that unpickles.

`dumps`/`loads` for values, `FunctionBlob` for functions, `dump_error`/`load_error` for exceptions, `detached` for those that are kept.
"""

from plait.serialize.errors import detached, dump_error, load_error
from plait.serialize.functions import FunctionBlob, load_function
from plait.serialize.values import NONE_BYTES, dump_plain, dumps, loads

__all__ = [
    "NONE_BYTES",
    "FunctionBlob",
    "detached",
    "dump_error",
    "dump_plain",
    "dumps",
    "load_error",
    "load_function",
    "loads",
]
