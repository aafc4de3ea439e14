"""How long an input hub keeps its events, and therefore how long an unconfirmed claim may live (R11)."""

from __future__ import annotations

from dataclasses import dataclass

FLOOR_MS = 15 * 60_000
"""Far longer than any batch is handled. For events that are older than the setting allows, so that nobody knows what is left
of them."""
STEP_MS = 60_000
"""TTLs are multiples of it, so that the claims of one call have the same one, and are written together."""


@dataclass(slots=True)
class Retention:
    """The retention of one input hub: what the operator said, unless an event that is older disproves it."""

    configured_ms: int
    oldest_ms: int = 0
    """Age of the oldest event that was received."""

    @property
    def is_disproved(self) -> bool:
        return self.oldest_ms > self.configured_ms

    def observe(self, enqueued_ms: int, now_ms: int) -> bool:
        """Learns from an event that was received. Returns whether it is the first one that disproves the setting."""
        was_disproved = self.is_disproved
        self.oldest_ms = max(self.oldest_ms, now_ms - enqueued_ms)
        return self.is_disproved and not was_disproved

    def unconfirmed_ttl_ms(self, enqueued_ms: int, now_ms: int) -> int:
        """How long the hub still keeps the event. An unconfirmed claim must not outlive it, or it would silence every other
        copy permanently; nor may it end while its batch is handled, or another copy would be published, too."""
        longest = max(self.configured_ms, self.oldest_ms)
        left = min(longest, enqueued_ms + longest - now_ms)
        is_beyond = now_ms - enqueued_ms >= self.configured_ms
        if left > FLOOR_MS:
            left -= left % STEP_MS
        return max(left, FLOOR_MS if is_beyond else 1)
