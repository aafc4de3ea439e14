"""Long answers, made piece by piece: the loop that makes them also renews the leases, and must not be kept from that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import TypeVar

import msgspec
from fastapi import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from pydantic import BaseModel

T = TypeVar("T")
PIECE = 50
"""Items that are made at once: some milliseconds of those that are largest."""


async def array(views: Iterable[BaseModel]) -> Response:
    return Response(await _array(views), media_type="application/json")


async def arrays(by_name: AsyncIterable[tuple[str, Iterable[BaseModel]]]) -> Response:
    """An object with an array for each name."""
    members = [msgspec.json.encode(name) + b":" + await _array(views) async for name, views in by_name]
    return Response(b"{" + b",".join(members) + b"}", media_type="application/json")


async def metrics(registry: CollectorRegistry) -> Response:
    """For Prometheus, a family at a time."""
    families = [generate_latest(_Family(family)) async for family in paused(registry.collect(), 1)]
    return Response(b"".join(families), media_type=CONTENT_TYPE_LATEST)


class _Family:
    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)


async def _array(views: Iterable[BaseModel]) -> bytes:
    return b"[" + b",".join([view.model_dump_json().encode() async for view in paused(views)]) + b"]"


async def paused(items: Iterable[T], piece: int = PIECE) -> AsyncIterator[T]:
    """Leaves the loop to others after each piece. Items are made when they are taken, if `items` makes them so."""
    for number, item in enumerate(items, 1):
        yield item
        if number % piece == 0:
            await asyncio.sleep(0)
