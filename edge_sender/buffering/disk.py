"""What the spool's thread does: it opens the spool when that is possible, and replaces it when it is damaged."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_sender.buffering.last_ids import LastIds
from edge_sender.buffering.reserve import RESERVE_BYTES, Reserve
from edge_sender.buffering.salvage import SpoolFile
from edge_sender.buffering.spool import ReadRows, Spool
from edge_sender.buffering.spool_values import (
    DamagedSpoolError,
    Dropped,
    Rows,
    SpoolError,
    SpoolFullError,
    SpoolUnusableError,
)
from edge_sender.identity.readings import Reading
from edge_sender.identity.runs import Runs

logger = logging.getLogger(__name__)

SALVAGE_SECONDS = 60.0
"""After a salvage that failed, such as for want of room, the next one is tried this much later."""
RESERVE_SECONDS = 60.0
"""After a disk has refused a reserve for which it seemed to have room, such as by a quota, it is asked this much later."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a spool remembers besides readings."""

    last_ids: LastIds
    runs: Runs
    positions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one commit is about."""

    readings: Sequence[Reading]
    positions: Mapping[str, str]
    acknowledged: Sequence[Rows]
    taken: int
    runs: bytes


class Disk:
    """Used by one thread."""

    def __init__(self, file: SpoolFile) -> None:
        self.spool: Spool | None = None
        self.kept: Kept | None = None
        """As of when the spool was opened first."""
        self.lost = 0
        """Readings that were lost with damaged pages, as far as their number is known."""
        self.reserve = Reserve(file.path)
        self._file = file
        self._salvage_at = 0.0
        self._reserve_at = 0.0

    def open(self) -> Spool:
        """Open the spool unless it is. Raises SpoolUnusableError and SpoolError."""
        if self.spool is None:
            try:
                self.spool = self._file.open()
            except DamagedSpoolError as error:
                self.spool = self._salvage(error)
            self.reserve.look()
            if self.reserve.state == "in use":
                self.spool.may_grow(is_allowed=False)
            self._keep_reserve(self.spool)
        if self.kept is None:
            try:
                self.kept = _kept(self.spool)
            except DamagedSpoolError as error:
                self.kept = _kept(self._salvage(error))
        return self.spool

    def commit(self, batch: Batch) -> tuple[Dropped, SpoolFullError | None]:
        """As `Spool.commit`. A full disk still takes what removes readings, for which there is the reserve: then the error
        says why no others were stored.

        Raises SpoolError.
        """
        spool = self._opened_later()
        self._keep_reserve(spool)
        try:
            return _commit(spool, batch), None
        except SpoolFullError as error:
            return self._remove(spool, batch), error
        except DamagedSpoolError as error:
            return _commit(self._salvage(error), batch), None

    def _remove(self, spool: Spool, batch: Batch) -> Dropped:
        """What the hub has, and will not have, from a disk that takes no readings. Raises SpoolError."""
        try:
            return spool.commit(acknowledged=batch.acknowledged, taken=batch.taken)
        except SpoolFullError:
            if not batch.acknowledged:
                raise
        if self.reserve.give_up():
            spool.may_grow(is_allowed=False)
        for rows in batch.acknowledged:
            if not rows.is_given_up:
                spool.remove(rows)
        return spool.commit(acknowledged=batch.acknowledged, taken=batch.taken)

    def _keep_reserve(self, spool: Spool) -> None:
        """Make the reserve if it is not there, and there is room. Until then a spool that has given it up does not grow.

        That this fails is no failure of the spool.
        """
        if self.reserve.path is None or self.reserve.state == "kept" or self._file.clocks.monotonic() < self._reserve_at:
            return
        try:
            if self.reserve.make() or (spool.give_back(RESERVE_BYTES) and self.reserve.make()):
                spool.may_grow(is_allowed=True)
        except (OSError, SpoolError) as error:
            self._reserve_at = self._file.clocks.monotonic() + RESERVE_SECONDS
            logger.warning("no room can be reserved on the spool's disk: %s; it is tried again", error)

    def read(self, after: int, limit: int) -> ReadRows:
        """As `Spool.read`. Raises SpoolError."""
        spool = self._opened_later()
        try:
            return spool.read(after, limit)
        except DamagedSpoolError as error:
            return self._salvage(error).read(after, limit)

    def close(self) -> None:
        """Raises SpoolError."""
        if self.spool is not None:
            self.spool.close()

    def _opened_later(self) -> Spool:
        """While it runs, nothing is a reason to end the sender."""
        try:
            return self.open()
        except SpoolUnusableError as error:
            raise SpoolError(str(error)) from error

    def _salvage(self, error: DamagedSpoolError) -> Spool:
        """Raises SpoolError."""
        now, old = self._file.clocks.monotonic(), self.spool
        if now < self._salvage_at:
            raise error
        self._salvage_at = now + SALVAGE_SECONDS
        self.spool = None
        if old is not None:
            old.close()
        spool, lost = self._file.salvage(error)
        if old is not None:
            spool.begin_behind(old)
        self.lost += lost
        self.spool = spool
        self._salvage_at = 0.0
        return spool


def _commit(spool: Spool, batch: Batch) -> Dropped:
    return spool.commit(
        batch.readings,
        positions=batch.positions,
        acknowledged=batch.acknowledged,
        taken=batch.taken,
        runs=batch.runs,
    )


def _kept(spool: Spool) -> Kept:
    return Kept(spool.last_ids(), spool.runs(), spool.positions())
