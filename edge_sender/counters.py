"""The sender's counters, which telemetry.py publishes."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Literal

Reason = Literal["no-identity", "without-time", "memory-full", "spool-full", "too-old", "refused", "damaged"]
REASONS: tuple[Reason, ...] = (
    "no-identity",
    "without-time",
    "memory-full",
    "spool-full",
    "too-old",
    "refused",
    "damaged",
)

Loss = Literal["overflow", "gap", "interruption", "undecodable", "unknown-item", "missed"]
LOSSES: tuple[Loss, ...] = ("overflow", "gap", "interruption", "undecodable", "unknown-item", "missed")
Skip = Literal["waiting", "repeated"]
SKIPS: tuple[Skip, ...] = ("waiting", "repeated")
FailOver = Literal["unreachable", "service-level"]
FAIL_OVERS: tuple[FailOver, ...] = ("unreachable", "service-level")
Restart = Literal["restarted", "untimed"]
RESTARTS: tuple[Restart, ...] = ("restarted", "untimed")
MOST_LISTED = 100


@dataclass(slots=True)
class SourceTally:
    """What one source notes about what did not become a reading, and why."""

    lost: Counter[Loss] = field(default_factory=Counter)
    """`overflow`: notifications before which the server's queue dropped some. `gap`: notification messages that the server
    no longer had. `interruption`: subscriptions that it no longer had, so that what came meanwhile is unknown.
    `undecodable`: notifications whose value can't be decoded. `unknown-item`: those of no known variable. `missed`: readings
    that were not there within half an interval, with `sampling: aligned`."""
    skipped: Counter[Skip] = field(default_factory=Counter)
    """`waiting`: notifications that only say that there is no value yet. `repeated`: first ones of a subscription that
    repeat what was delivered already."""
    fail_overs: Counter[FailOver] = field(default_factory=Counter)
    """How often another of a source's servers was read from then on: the one before could not be read any more, or was less
    fit by its service level."""
    without_time: int = 0
    """Readings without the time that was chosen for the source. They are dropped where their identity needs it."""
    subscribed: int = 0
    """Number of variables, by the last subscription or browse."""
    notifiers: int = 0
    """Number of objects whose events are subscribed to, by the same."""
    clock_offset_seconds: float | None = None
    """By how much the server's clock is ahead of this gateway's."""
    clock_steps: int = 0
    """How often this gateway's clock was set, by more than half an interval, while it read with `sampling: aligned`."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Variables that were chosen and can't be subscribed to, or nodes that can't be browsed: why."""
    revised: dict[str, int] = field(default_factory=dict)
    """What the server granted instead of what was asked for, and for how many variables or subscriptions. The first word is
    the parameter."""
    troubled: dict[str, str] = field(default_factory=dict)
    """Variables whose values could not be decoded, overflowed the queue or had no time: why. At most `MOST_LISTED`."""

    def count(self, reason: Loss | Skip, number: int = 1) -> None:
        if reason == "waiting" or reason == "repeated":
            self.skipped[reason] += number
        else:
            self.lost[reason] += number

    def trouble(self, variable: str, why: str) -> bool:
        """List the variable; return whether it was not listed yet."""
        is_new = variable not in self.troubled
        if not is_new or len(self.troubled) < MOST_LISTED:
            self.troubled[variable] = why
            return is_new
        return False


@dataclass(slots=True)
class RestartTally:
    """What one entry of the document notes about the counters of its sources."""

    counts: Counter[Restart] = field(default_factory=Counter)
    """`restarted`: counters that were lower at a later source time, in the same epoch. `untimed`: lower ones of readings
    without a time, which may have been late as well."""
    listed: dict[str, str] = field(default_factory=dict)
    """Sources, and what happened last. At most `MOST_LISTED`."""

    def note(self, reason: Restart, source: str, what: str) -> bool:
        """Count it, and list the source; return whether it was not listed yet."""
        self.counts[reason] += 1
        is_new = source not in self.listed
        if not is_new or len(self.listed) < MOST_LISTED:
            self.listed[source] = what
            return is_new
        return False


@dataclass(slots=True)
class Counters:
    readings: Counter[str] = field(default_factory=Counter)
    """Readings that got an id, by source; a passive replica counts them, too."""
    restarts: defaultdict[str, RestartTally] = field(default_factory=lambda: defaultdict(RestartTally))
    """Counters that started over, by source."""
    dropped: Counter[Reason] = field(default_factory=Counter)
    """Readings that were dropped, by reason."""
    sent_readings: int = 0
    """Readings that the hub acknowledged."""
    sent_messages: int = 0
    sent_bytes: int = 0
    retries: int = 0
    commits: int = 0
    commit_seconds: float = 0.0
    """How long they took altogether."""
    spool_failures: int = 0
    takeovers: int = 0

    def summary(self) -> str:
        dropped = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items() if count) or "none"
        return (
            f"{self.readings.total()} readings, {self.sent_readings} sent in {self.sent_messages} messages, "
            f"{self.retries} retries, dropped: {dropped}"
        )
