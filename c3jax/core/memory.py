"""How this process gets its memory."""

import ctypes

# Parameters of `mallopt`.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep() -> bool:
    """Has this process keep the memory that it frees, where the C library is glibc.

    On a CPU every step allocates its temporaries anew. glibc takes large ones from the
    kernel and gives them back each time, and then every page of them is a fault: a
    third of a small policy's step.

    Returns:
        Whether it does from here on.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, -1))
