"""One group for all devices, for tests that are about something else."""

from __future__ import annotations

from typing import Any

from dedup_service.core.extract import CloudEventsExtractor
from dedup_service.core.groups import Group, Groups
from dedup_service.core.outgoing import OutputPolicy
from dedup_service.processing.admission import Admission

OUTPUT = OutputPolicy(["0"], "source", "g")


def group_of(**fields: Any) -> Group:
    return Group(**{"name": "g", "window_ms": 1_000_000, "mode": "drop", "output": OUTPUT, **fields})


def admission_of(*groups: Group, unmatched: str = "ignore", max_bytes: int = 10_000) -> Admission:
    return Admission(Groups(groups or [group_of()]), CloudEventsExtractor(max_bytes), unmatched)
