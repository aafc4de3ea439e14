"""Settings from the twin. Its desired properties are kept next to the spool, for a gateway that starts offline."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from edge_sender.config.settings import EdgeSettings, SettingsError, with_twin
from edge_sender.config.sources import NO_SOURCES, SourcesDocument
from edge_sender.ports import Twin, UplinkError

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
UPDATE_SECONDS = 300.0
"""The twin is read again after this time, to find a change that was missed while the connection was down."""


class Effective(NamedTuple):
    """With what a sender runs."""

    settings: EdgeSettings
    sources: SourcesDocument
    from_twin: tuple[str, ...] = ()
    """Names of what the twin gives."""


class TwinSettings:
    """`path`: file in which the desired properties are kept; None keeps them in memory only. `try_out` raises SettingsError
    for sources that can't be made on this gateway."""

    def __init__(self, settings: EdgeSettings, path: Path | None, try_out: Callable[[SourcesDocument], None]) -> None:
        self._settings = settings
        self._try_out = try_out
        self._path = path
        self._desired = self._load()

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

    def effective(self) -> Effective:
        """The settings and sources by what is known of the twin. Until anything usable is known, there may be no sources."""
        for desired in (self._desired, {}):
            try:
                return self._usable(desired)
            except SettingsError as error:
                logger.warning("waiting for the twin: %s", error)
        return Effective(self._settings, NO_SOURCES)

    def _usable(self, desired: dict[str, Any]) -> Effective:
        """Raises SettingsError."""
        settings, sources = with_twin(self._settings, desired)
        self._try_out(sources)
        return Effective(
            settings, sources, tuple(name for name, value in _without_version(desired).items() if value is not None)
        )

    async def watch(self, twin: Twin) -> None:
        """Returns when the twin desires other settings that can be used. Those that can't are refused and reported."""
        changed, is_watching = asyncio.Event(), False
        while True:
            changed.clear()
            try:
                if not is_watching:
                    await twin.on_change(changed.set)
                    is_watching = True
                if await self._update(twin):
                    return
                timeout = UPDATE_SECONDS
            except UplinkError as error:
                logger.debug("%s", error)
                timeout = RETRY_SECONDS
            try:
                async with asyncio.timeout(timeout):
                    await changed.wait()
            except TimeoutError:
                continue

    async def _update(self, twin: Twin) -> bool:
        """Read the twin and report the outcome. Returns whether there are new settings to start with."""
        desired = await twin.desired()
        version = desired.get("$version")
        try:
            self._usable(desired)
        except SettingsError as error:
            logger.warning("the twin's settings are refused, and the previous ones stay in force: %s", error)
            await twin.report({"settings": {"version": version, "accepted": False, "error": str(error)}})
            return False
        is_new = _without_version(desired) != _without_version(self._desired)
        if is_new:
            await asyncio.to_thread(self._keep, desired)  # a slow disk must not stop the reading
        await twin.report({"settings": {"version": version, "accepted": True, "error": None}})
        return is_new

    def _keep(self, desired: dict[str, Any]) -> None:
        self._desired = desired
        if self._path is None:
            return
        try:
            aside = self._path.with_suffix(".new")
            with aside.open("w") as file:
                file.write(json.dumps(desired))
                file.flush()
                os.fsync(file.fileno())  # or a loss of power could leave an empty file under the new name
            aside.replace(self._path)
        except OSError as error:
            logger.warning(
                "%s can't be written; a start without a connection will not have the twin's settings: %s", self._path, error
            )


def _without_version(desired: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in desired.items() if not name.startswith("$")}
