"""One subscription of a session, and when it is taken for lost."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_sender.sources.opcua.sequence import Numbers

SILENCE = 3.0
"""Keep-alive intervals after which a silent subscription is taken for lost."""
LEAST_SILENCE_SECONDS = 1.0


class SubscriptionLostError(Exception):
    """The server no longer has the subscription, or is silent about it."""


@dataclass(slots=True)
class Subscription:
    id: int
    asked_ms: float
    """The publishing interval that was asked for, by which variables are assigned to subscriptions."""
    keep_alive_seconds: float
    numbers: Numbers = field(default_factory=Numbers)
    items: int = 0
    is_full: bool = False
    heard_at: float = 0.0

    def is_silent(self, now: float) -> bool:
        return now - self.heard_at > max(SILENCE * self.keep_alive_seconds, LEAST_SILENCE_SECONDS)
