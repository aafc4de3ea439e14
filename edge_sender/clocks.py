"""The gateway's clocks, as the operating system has them."""

from __future__ import annotations

import ctypes
import time
import uuid
from pathlib import Path

from edge_sender.ports import Clocks

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TIMEX_BYTES = 256
"""At least the size of `struct timex` (adjtimex(2)): a call with zeros only reads."""
TIME_ERROR = 5
"""What adjtimex(2) returns while the clock is not synchronised."""


def system_clocks() -> Clocks:
    return Clocks(time.monotonic, time.time, _uptime, _boot(), is_synchronised)


def _uptime() -> float:
    """Seconds since the boot, also of those in which the machine was suspended."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)  # only Linux has it
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


def _boot() -> str:
    """The same until the machine boots. Where the system does not tell, each process counts as a boot of its own."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return uuid.uuid4().hex


def is_synchronised() -> bool:
    """Whether the kernel's clock is kept by NTP or the like. False also where the kernel does not tell."""
    adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)
    return adjtimex is not None and 0 <= adjtimex(ctypes.create_string_buffer(TIMEX_BYTES)) < TIME_ERROR
