"""How long something takes, for tests of how that grows."""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import process_time


def seconds_of(work: Callable[[], object]) -> float:
    """CPU seconds: the least of three times, without the garbage collector, whose pauses grow with what other tests have
    left."""
    times = []
    gc.disable()
    try:
        for _ in range(3):
            started = process_time()
            work()
            times.append(process_time() - started)
    finally:
        gc.enable()
    return min(times)
