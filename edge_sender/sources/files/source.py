"""Reads a file, CSV or one JSON object per line, over its rotations. Each record is a reading, and each is read once, even
across restarts: the position is committed together with the readings."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from edge_sender.ports import Intake
from edge_sender.sources.files.format import FileFormat, MisfitError
from edge_sender.sources.files.part import ReplacedError
from edge_sender.sources.files.places import is_found
from edge_sender.sources.files.tail import Tail, Taken

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
LINES_AT_ONCE = 200
SKIPPED = "line"
MISSING_SECONDS = 10.0
"""Between two parts there may be no file under the name."""


class FileSource:
    """`follow`: wait for more lines at the end of the file instead of finishing."""

    def __init__(
        self,
        name: str,
        path: Path,
        form: FileFormat,
        *,
        follow: bool,
        rotated: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.is_up = False
        self.skipped = Counter({SKIPPED: 0})
        """Lines that are not readings, by reason."""
        self.problem: str | None = None
        """Why the file is not read at the moment."""
        self.notice: str | None = None
        self.unacknowledged = 0
        self._path = path
        self._format = form
        self._follow = follow
        self._rotated = rotated
        self._now = monotonic
        self._there_at: float | None = None
        """When the path last named a file."""

    async def run(self, intake: Intake) -> None:
        while not await self._run_turn(intake):
            await asyncio.sleep(POLL_SECONDS)

    async def _run_turn(self, intake: Intake) -> bool:
        """Read while it is this replica's turn, and else only see whether the file could be read: what another replica reads
        would be dropped here, so that nothing is passed. Returns whether the source is finished."""
        tail = Tail(self._path, self._rotated, self._format, self._start(intake), self._now, self._tell)
        try:
            if not intake.is_due():
                await self._pass(tail, intake)
                return False
            while intake.is_due():
                if await self._pass(tail, intake):
                    return True
                await asyncio.sleep(POLL_SECONDS)
            return False
        finally:
            tail.close()

    def _start(self, intake: Intake) -> str | None:
        """Where the other replica had got, if the file is the same here; else where this one had got."""
        if not intake.is_due():
            return None
        other = intake.handed_over()
        if other is not None:
            try:
                if is_found(other, self._path, self._rotated):
                    return other
            except OSError as error:
                logger.debug("%s: %s", self.name, error)  # the pass that follows meets it, too
        return intake.position()

    async def _pass(self, tail: Tail, intake: Intake) -> bool:
        """Read what there is. Returns whether the source is finished."""
        try:
            is_there = tail.look()
            while await self._read(tail, intake):
                is_there = tail.look()
            self._note(self._missing(is_there=is_there))
            if self._follow or not is_there:
                return False
            await self._read(tail, intake, is_over=True)
            return intake.is_due()
        except ReplacedError:
            return False
        except MisfitError as error:
            self._note(str(error))
        except OSError as error:
            self._note(f"{error.filename or self._path} can't be read: {error.strerror or error}")
        return False

    async def _read(self, tail: Tail, intake: Intake, *, is_over: bool = False) -> bool:
        """Returns whether there was anything. Raises ReplacedError, MisfitError, OSError."""
        count = 0
        for taken in tail.lines(is_over=is_over):
            if not intake.is_due():
                return False
            if count % LINES_AT_ONCE == 0:
                await intake.room()
                await asyncio.sleep(0)
                if not intake.is_due():
                    return False
            count += 1
            self._take(taken, intake)
        return count > 0

    def _take(self, taken: Taken, intake: Intake) -> None:
        if taken.line.sample is not None:
            intake.take(taken.line.sample, taken.position)
            return
        self.skipped[SKIPPED] += 1
        if self.skipped[SKIPPED] == 1:
            logger.warning(
                "%s: %s line %d is not a reading and is skipped; further ones will only be counted: %s",
                self.name,
                taken.path,
                taken.line.number,
                taken.line.problem,
            )

    def _missing(self, *, is_there: bool) -> str | None:
        if is_there:
            self._there_at = self._now()
        if is_there or (self._there_at is not None and self._now() - self._there_at < MISSING_SECONDS):
            return None
        return f"{self._path} does not exist"

    def _tell(self, notice: str) -> None:
        logger.warning("%s: %s", self.name, notice)
        self.notice = notice

    def _note(self, problem: str | None) -> None:
        """Log changes of state, not every failure."""
        if problem is not None and problem != self.problem:
            logger.warning("%s: not reading: %s", self.name, problem)
        elif problem is None and self.problem is not None:
            logger.info("%s: reading %s again", self.name, self._path)
        self.problem, self.is_up = problem, problem is None
