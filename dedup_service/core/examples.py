"""Examples of what went wrong, as pods tell them to each other through Redis."""

from __future__ import annotations

from typing import Annotated, TypedDict

from msgspec import Meta

Mask = Annotated[int, Meta(ge=0, lt=2**31)]


class ConflictExample(TypedDict):
    """A copy whose content differs from the winner's."""

    group: str
    source: str
    id: str
    replica: str
    enqueued_ms: int
    content: str
    """Hash, hexadecimal; so is `winner_content`."""
    bytes: int
    winner_replicas: Mask
    """A bit for each replica that had delivered the reading by then."""
    winner_enqueued_ms: int
    winner_content: str


class DeadLetterExample(TypedDict):
    group: str
    """Empty if it belongs to none."""
    reason: str
    replica: str
    enqueued_ms: int
    origin: str
    readings: int
    bytes: int
