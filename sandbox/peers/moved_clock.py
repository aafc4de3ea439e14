"""`python -m sandbox.peers.moved_clock FILE MODULE ARGUMENTS…`: runs a module with a wall clock that others set.

As when NTP sets a clock, `time.time` and `time.time_ns` move for all code of the process, its libraries included, while
`time.monotonic` and the uptime go on. FILE holds the seconds by which the clock is wrong, as `write` puts them there.
"""

from __future__ import annotations

import mmap
import runpy
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

FORM = struct.Struct("<d")
NS = 1_000_000_000


def write(path: Path, seconds: float) -> None:
    """Set the clock of every process that runs with this file."""
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(FORM.pack(seconds))


def moved(clock_ns: Callable[[], int], read: Callable[[], float]) -> Callable[[], int]:
    return lambda: clock_ns() + round(read() * NS)


def main() -> None:
    path, module, *arguments = sys.argv[1:]
    with open(path, "rb") as file:
        shared = mmap.mmap(file.fileno(), FORM.size, prot=mmap.PROT_READ)
    now_ns = moved(time.time_ns, lambda: float(FORM.unpack_from(shared)[0]))
    time.time_ns = now_ns
    time.time = lambda: now_ns() / NS
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
