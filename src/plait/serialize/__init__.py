"""Objects to bytes and back. The only room that unpickles.

`dumps`/`loads` for values, `FunctionBlob` for functions, `dump_error`/`load_error` for exceptions.
"""

from plait.serialize.errors import dump_error, load_error
from plait.serialize.functions import FunctionBlob, load_function
from plait.serialize.values import NONE_BYTES, dump_plain, dumps, loads

__all__ = ["NONE_BYTES", "FunctionBlob", "dump_error", "dump_plain", "dumps", "load_error", "load_function", "loads"]
