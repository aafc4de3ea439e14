"""Settings from the twin: what it desires is kept beside the spool, so that a gateway that starts offline knows it, too."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_sender.config.settings import EdgeSettings, SettingsError, with_twin
from edge_sender.config.sources import NO_SOURCES, SourcesDocument
from edge_sender.ports import Twin, UplinkError

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
UPDATE_SECONDS = 300.0
"""A change that was missed while the connection was down is found after it."""


class TwinSettings:
    """`path`: where the desired properties are kept; None keeps them nowhere. `try_out` raises SettingsError for sources
    that can't be made on this gateway."""

    def __init__(self, settings: EdgeSettings, path: Path | None, try_out: Callable[[SourcesDocument], None]) -> None:
        self._settings = settings
        self._try_out = try_out
        self._path = path
        self._desired = self._load()

    def _load(self) -> dict[str, Any]:
        if self._path is None or not self._path.exists():
            return {}
        try:
            found = json.loads(self._path.read_text())
        except (OSError, ValueError) as error:
            logger.warning("%s can't be read, and is ignored until the twin is: %s", self._path, error)
            return {}
        return found if isinstance(found, dict) else {}

    def effective(self) -> tuple[EdgeSettings, SourcesDocument]:
        """By what is known of the twin. Before anything is known there may be no source yet."""
        for desired in (self._desired, {}):
            try:
                return self._usable(desired)
            except SettingsError as error:
                logger.warning("waiting for the twin: %s", error)
        return self._settings, NO_SOURCES

    def _usable(self, desired: dict[str, Any]) -> tuple[EdgeSettings, SourcesDocument]:
        """Raises SettingsError."""
        settings, sources = with_twin(self._settings, desired)
        self._try_out(sources)
        return settings, sources

    async def watch(self, twin: Twin) -> None:
        """Returns when the twin desires other settings that can be used; those that can't are reported, and refused."""
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
        """Whether there is something new to start with."""
        desired = await twin.desired()
        version = desired.get("$version")
        try:
            self._usable(desired)
        except SettingsError as error:
            logger.warning("the twin's settings are refused, and those before it stay: %s", error)
            await twin.report({"settings": {"version": version, "accepted": False, "error": str(error)}})
            return False
        is_new = _without_version(desired) != _without_version(self._desired)
        if is_new:
            self._keep(desired)
        await twin.report({"settings": {"version": version, "accepted": True, "error": None}})
        return is_new

    def _keep(self, desired: dict[str, Any]) -> None:
        self._desired = desired
        if self._path is None:
            return
        try:
            aside = self._path.with_suffix(".new")
            aside.write_text(json.dumps(desired))
            aside.replace(self._path)
        except OSError as error:
            logger.warning("%s can't be written, a start without connection will not know the twin: %s", self._path, error)


def _without_version(desired: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in desired.items() if not name.startswith("$")}
