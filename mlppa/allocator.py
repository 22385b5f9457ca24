"""How memory that was given back is kept for the next one who asks."""

import ctypes
import sys

#: Of mallopt(3), as in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, instead of giving it back to the system.

    Each gulp takes tens of megabytes that the one before has just freed, and fresh pages
    for them would be cleared first. Does nothing where there is no glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        # one heap: what a thread has freed is there for all
        mallopt(_M_ARENA_MAX, 1)
