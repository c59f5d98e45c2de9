"""How the C library keeps memory that was freed."""

from __future__ import annotations

import sys
from typing import Final

_TRIM_THRESHOLD: Final = -1
_TOP_PAD: Final = -2
_MMAP_THRESHOLD: Final = -3


def keep_freed_memory(block_bytes: int = 8 << 20, free_bytes: int = 32 << 20) -> bool:
    """Has the C library reuse freed blocks of some megabytes instead of giving them back to the system and getting them anew.

    For processes that move big values in pieces: fresh pages for every piece cost as much time as copying it. Whether it could be told.

    Args:
        block_bytes: larger blocks still come from the system directly.
        free_bytes: how much is kept.
    """
    if sys.platform != "linux":
        return False
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    told = [mallopt(_MMAP_THRESHOLD, block_bytes), mallopt(_TRIM_THRESHOLD, free_bytes), mallopt(_TOP_PAD, block_bytes)]
    return all(told)
