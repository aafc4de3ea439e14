"""Replays a file, CSV or one JSON object per line. Each line is a reading, and each is read once, even across restarts.

The position in the file is committed together with the readings, and holds a hash of the bytes before it, so that a file
that was replaced by another is read from its start.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from edge_sender.ports import Intake
from wire.ids import Sample
from wire.times import TimeFormat, parse_time

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
LINES_AT_ONCE = 200
FINGERPRINT_BYTES = 256


@dataclass(frozen=True, slots=True)
class FileFormat:
    kind: Literal["csv", "jsonl"]
    uri: str
    """The source's URI; `{column}` is replaced by that value of the line."""
    time: str | None
    """Column or member that holds the source time."""
    time_format: TimeFormat


class FileSource:
    """`follow`: wait for more lines at the end of the file instead of finishing."""

    def __init__(self, name: str, path: Path, form: FileFormat, *, follow: bool) -> None:
        self.name = name
        self.is_up = False
        self.skipped = 0
        """Number of lines that are not readings."""
        self._path = path
        self._format = form
        self._follow = follow

    async def run(self, intake: Intake) -> None:
        position, warned = intake.position(), False
        while True:
            try:
                with self._path.open("rb") as file:  # may block: it is local, and read a few lines at a time
                    self.is_up, warned = True, False
                    position = await self._replay(file, intake, position)
            except OSError as error:
                if not warned:
                    logger.warning("%s: %s can't be read, retrying: %s", self.name, self._path, error.strerror)
                self.is_up, warned = False, True
            else:
                if not self._follow:
                    return
            await asyncio.sleep(POLL_SECONDS)

    async def _replay(self, file: BinaryIO, intake: Intake, position: str | None) -> str:
        """Read up to the end and return the position there."""
        columns = self._columns(file)
        start = max(_offset(position, file), file.tell())
        before = _bytes_before(file, start)
        file.seek(start)
        while True:
            await intake.room()
            at = file.tell()
            lines = [line for _, line in zip(range(LINES_AT_ONCE), file, strict=False)]
            if lines and not lines[-1].endswith(b"\n") and self._follow:
                lines.pop()  # still being written
            if not lines:
                return _position(before, at)
            for line in lines:
                at += len(line)
                before = (before + line)[-FINGERPRINT_BYTES:]
                self._take(line, columns, intake, _position(before, at))
            file.seek(at)
            await asyncio.sleep(0)

    def _columns(self, file: BinaryIO) -> list[str]:
        """The column names in the first line of a CSV file."""
        if self._format.kind == "jsonl":
            return []
        return next(csv.reader([file.readline().decode("utf-8-sig", "replace")]), [])

    def _take(self, line: bytes, columns: list[str], intake: Intake, position: str) -> None:
        if not line.strip():
            return
        try:
            sample = self._sample(line, columns)
        except (ValueError, ArithmeticError, LookupError, csv.Error, RecursionError) as error:
            self.skipped += 1
            if self.skipped == 1:
                logger.warning("%s: a line is not a reading; further ones will only be counted: %s", self.name, error)
            return
        intake.take(sample, position)

    def _sample(self, line: bytes, columns: list[str]) -> Sample:
        record = _csv_record(line, columns) if self._format.kind == "csv" else _json_record(line)
        stamp = self._format.time
        time_ns = None if stamp is None else parse_time(record[stamp], self._format.time_format)
        return Sample(self._format.uri.format_map(record), time_ns, record)


def _csv_record(line: bytes, columns: list[str]) -> dict[str, Any]:
    values = next(csv.reader([line.decode()], strict=True))
    if len(values) != len(columns):
        raise ValueError(f"it has {len(values)} fields, but the header has {len(columns)}")
    return dict(zip(columns, map(_typed, values), strict=True))


def _json_record(line: bytes) -> dict[str, Any]:
    record = json.loads(line)
    if not isinstance(record, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004  # a wrong line, not a wrong type in the program
    return record


def _typed(text: str) -> Any:
    """A number if the text is a JSON number, otherwise the text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else text


def _bytes_before(file: BinaryIO, offset: int) -> bytes:
    start = max(0, offset - FINGERPRINT_BYTES)
    file.seek(start)
    return file.read(offset - start)


def _position(before: bytes, offset: int) -> str:
    return f"{hashlib.sha256(before).hexdigest()[:16]}:{offset}"


def _offset(position: str | None, file: BinaryIO) -> int:
    """Offset in `position`, or 0 if that belongs to another file. Keeps the file's current offset."""
    offset = (position or "").rpartition(":")[2]
    if not offset.isdigit():
        return 0
    here = file.tell()
    is_same = _position(_bytes_before(file, int(offset)), int(offset)) == position
    file.seek(here)
    return int(offset) if is_same else 0
