"""The twin's desired properties, kept next to the spool for a gateway that starts offline."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

MOST_STARTS = 3
"""Settings with which so many starts in a row ended soon, and not because of a stop, are set aside."""


class Remembered:
    """`path`: the file; None keeps the properties in memory only. Beside it there is the number of starts since they last
    proved themselves: what ends the process, or keeps it from answering, could not be told by the process itself."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.desired = self._load()

    @property
    def _starts(self) -> Path | None:
        return None if self._path is None else self._path.with_suffix(".starts")

    def _load(self) -> dict[str, Any]:
        if self._path is None:
            return {}
        try:
            desired = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            logger.warning("%s can't be read and is ignored; the twin will replace it: %s", self._path, error)
            return {}
        return desired if isinstance(desired, dict) else {}

    def begin(self) -> None:
        """Count a start; set the properties aside if too many have failed."""
        if not self.desired or self._starts is None:
            return
        starts = self._failed_starts()
        if starts >= MOST_STARTS:
            self.set_aside(f"the last {starts} starts with it ended soon")
        else:
            self._write(self._starts, str(starts + 1))

    def prove(self) -> None:
        """This start has worked, or was ended by somebody."""
        if self._starts is not None:
            try:
                self._starts.unlink(missing_ok=True)
            except OSError as error:
                logger.warning("%s can't be removed: %s", self._starts, error)

    def set_aside(self, why: str) -> None:
        self.desired = {}
        if self._path is None:
            return
        aside = self._path.with_suffix(".failed.json")
        logger.error("%s is set aside as %s, and the twin is waited for: %s", self._path, aside, why)
        try:
            self._path.replace(aside)
        except OSError as error:
            logger.warning("%s can't be moved: %s", self._path, error)
        self.prove()

    def keep(self, desired: dict[str, Any]) -> None:
        self.desired = desired
        if self._path is not None:
            self._write(self._path, json.dumps(desired))

    def _failed_starts(self) -> int:
        try:
            text = "" if self._starts is None else self._starts.read_text()
        except OSError:  # there is none, which is usual
            return 0
        return int(text) if text.isascii() and text.isdigit() else 0

    def _write(self, path: Path, text: str) -> None:
        try:
            aside = path.with_suffix(".new")
            with aside.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())  # or a loss of power could leave an empty file under the new name
            aside.replace(path)
        except OSError as error:
            logger.warning(
                "%s can't be written; a start without a connection will not have the twin's settings: %s", path, error
            )
