"""Answers about single events: conflicts and dead letters."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from dedup_service.api.views.base import View


class ConflictView(View):
    group: str
    source: str
    id: str
    replica: str
    enqueued_ms: int
    content: str = Field(description="Hash of what copies must agree on.")
    bytes: int
    winner_replicas: list[str] = Field(description="Replicas that had delivered the reading by then.")
    winner_enqueued_ms: int
    winner_content: str


class DeadLetterView(View):
    group: str
    reason: str
    replica: str
    enqueued_ms: int
    origin: str = Field(description="Incarnation/partition/sequence number of the input event.")
    readings: int
    bytes: int


def conflict_view(example: dict[str, Any], names: dict[int, str]) -> ConflictView:
    return ConflictView(**{**example, "winner_replicas": names_of(example["winner_replicas"], names)})


def names_of(mask: int, names: dict[int, str]) -> list[str]:
    return [names.get(n, "other") for n in range(mask.bit_length()) if mask >> n & 1]
