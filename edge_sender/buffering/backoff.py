"""When to try again to reach a hub that is away. A hub that was away for a moment is found at once; one that stays away is
not overrun when all gateways of a company have lost it together. Pure: time and chance come in."""

from __future__ import annotations

from collections.abc import Callable

from wire.backoff import pause_seconds

FIRST_SECONDS = 0.2
MOST_SECONDS = 5.0
SPREAD = 0.5
"""Of each pause, so much is left to chance, so that gateways do not come all at the same moment."""
FORGOTTEN_SECONDS = 60.0
"""After so long without a failure, the next one begins an outage of its own."""


class Backoff:
    """`chance` returns numbers from 0 to 1."""

    def __init__(self, monotonic: Callable[[], float], chance: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._chance = chance
        self._away_since: float | None = None
        self._due = 0.0

    def pause(self) -> float:
        """Seconds from an attempt that has failed to the next one."""
        now = self._monotonic()
        if self._away_since is None or now - self._due > FORGOTTEN_SECONDS:
            self._away_since = now
        pause = pause_seconds(now - self._away_since, first=FIRST_SECONDS, most=MOST_SECONDS)
        pause *= 1 - SPREAD * self._chance()
        self._due = now + pause
        return pause

    def over(self) -> None:
        """The hub has acknowledged something. That it lets somebody connect is not enough: it may do only that."""
        self._away_since = None
