"""A rebuild of claims in memory, from what a pipeline has published."""

from __future__ import annotations

from typing import Any

from dedup_service.core.claims import Claim, unpack
from dedup_service.core.extract import CloudEventsExtractor
from dedup_service.core.groups import Group, Groups
from dedup_service.core.incarnations import Incarnations
from dedup_service.core.markers import Marker, next_part
from dedup_service.rebuild.published import PublishedReader
from dedup_service.rebuild.reading_back import ReadingBack
from dedup_service.telemetry import Telemetry
from tests.doubles.markers import MemoryMarkers, MemoryServer
from tests.doubles.memory import MemoryClaims, MemoryPublisher
from tests.support.shared import INPUT

WINDOW_MS = 3_600_000
MAX_BYTES = 1_000_000
DEPLOYMENT = "this-one"


def reader_of(*groups: Group, incarnation: int = 1) -> PublishedReader:
    """Of a deployment that reads one input, which has this incarnation."""
    incarnations = Incarnations([INPUT])
    incarnations.saw(INPUT, incarnation)
    return PublishedReader({INPUT: Groups(groups)}, incarnations, CloudEventsExtractor(MAX_BYTES), DEPLOYMENT)


async def _kept() -> None:
    return


async def read_back(
    published: PublishedReader, clean: MemoryPublisher, clock: Any, telemetry: Telemetry, numbers: dict[tuple[str, str], int]
) -> MemoryClaims:
    """What a Redis that has forgotten all but the replicas' numbers holds when the whole clean stream was read back."""
    claims = MemoryClaims(clock, numbers=dict(numbers))
    markers = MemoryMarkers(MemoryServer(clock, claims))
    (marker,) = await markers.look()
    reading_back = ReadingBack(clean, claims, markers, published, clock, telemetry)
    for partition in clean.partitions:
        await _read(reading_back, marker, partition)
    return claims


async def _read(reading_back: ReadingBack, marker: Marker, partition: str) -> None:
    part = next_part([marker], partition, WINDOW_MS, WINDOW_MS)
    assert part is not None
    assert (await reading_back.read(part, 0, _kept)).is_all


def decoded(claims: MemoryClaims) -> dict[bytes, Claim]:
    return {key: unpack(claim) for key, (claim, _) in claims.stored.items()}
