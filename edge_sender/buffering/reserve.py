"""Room on the disk that is kept for the moment when there is no other: SQLite can't even remove readings without some.

The reserve is a file beside the spool. It is given up when what the hub has can't be removed from a full disk, and made
again once there is clearly more room than it takes. It holds random bytes, which no file system compresses.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Literal, get_args

logger = logging.getLogger(__name__)

RESERVE_BYTES = 2 * 1024 * 1024
"""What moves the log of `spool_file.LOG_PAGES`, and of a commit, into a file that has to grow for it, and as much again."""
ROOM_BYTES = 3 * RESERVE_BYTES
"""It is made only when so much is free, of which it leaves twice as much as it takes."""

State = Literal["kept", "in use", "none"]
STATES: tuple[State, ...] = get_args(State)


class Reserve:
    """Used by one thread, but for `state`. `spool` None: what is in memory has none."""

    def __init__(self, spool: Path | None) -> None:
        self.path = None if spool is None else spool.with_name(f"{spool.name}.reserve")
        self.state: State = "none"

    def look(self) -> None:
        """Find what a former run has left: an empty file was given up."""
        if self.path is None or self.state != "none":
            return
        try:
            size = self.path.stat().st_size
        except OSError:
            return
        self.state = "kept" if size == RESERVE_BYTES else "in use"

    def give_up(self) -> bool:
        """Make its room free. Returns whether it did, now or before."""
        if self.path is None or self.state != "kept":
            return self.state == "in use"
        try:
            with self.path.open("r+b") as file:
                file.truncate()
                os.fsync(file.fileno())
        except OSError as error:
            self.state = "none"
            logger.warning("the reserve %s can't be given up: %s; make room on its disk", self.path, error)
            return False
        self.state = "in use"
        logger.warning("the spool's disk is full: its reserve is in use to remove what the hub has; make room on it")
        return True

    def make(self) -> bool:
        """Make it if there is room. Returns whether it did. Raises OSError."""
        if self.path is None or self.state == "kept" or _free_bytes(self.path.parent) < ROOM_BYTES:
            return False
        _write(self.path)
        self.state = "kept"
        logger.info("%d KiB of the spool's disk are reserved in %s", RESERVE_BYTES // 1024, self.path)
        return True


def _free_bytes(folder: Path) -> int:
    """Raises OSError."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _write(path: Path) -> None:
    """Whole, or empty. Raises OSError."""
    with path.open("wb", buffering=0) as file:
        try:
            file.write(os.urandom(RESERVE_BYTES))
            os.fsync(file.fileno())
            if file.tell() != RESERVE_BYTES:
                raise OSError("the disk took only a part")
        except OSError:
            file.truncate(0)
            raise
