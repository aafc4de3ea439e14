"""A rebuild of claims on the real thing: any pod tells how far it is, and stays ready (R12)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import redis.asyncio

from dedup_service.telemetry import Count
from sandbox.hub.stand_in import StandIn
from tests.support import hub
from tests.support.service import DEADLINE_SECONDS, RunningService, running_service


async def forget(redis_url: str, namespace: str) -> None:
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        keys = [key async for key in client.scan_iter(f"{namespace}*")]
        await client.delete(*keys)


async def until_shown(service: RunningService, live_data: str | None) -> dict[str, Any]:
    """The stats, once they say that of the rebuild."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            stats: dict[str, Any] = await service.ask("/v1/stats")
            rebuild = stats["rebuild"]
            if (rebuild and rebuild["live_data"]) == live_data:
                return stats
            await asyncio.sleep(0.02)


async def test_a_rebuild_is_told_by_api_readiness_and_metrics_until_it_has_ended(
    stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> None:
    async with running_service(stand_in, redis_url, tmp_path, namespace) as service:
        await hub.send(stand_in.connection_string("telemetry"), [hub.single("a"), hub.single("b")])
        await service.until_events(2)
        await service.until_totals(clean_readings=2)
        await until_shown(service, None)
        await forget(redis_url, namespace)
        stats = await until_shown(service, "paused")
        assert 0 <= stats["rebuild"]["share"] < 1
        assert stats["now_ms"] - DEADLINE_SECONDS * 1000 < stats["rebuild"]["forgot_ms"] <= stats["now_ms"] + 2000
        status, answer = await service.get("/readyz")
        assert (status, json.loads(answer)["status"]) == (200, "ready")
        assert json.loads(answer)["detail"].startswith("claims that Redis lacks are read back from the clean stream: ")
        assert "dedup_redis_forgot_total 1.0" in (await service.get("/metrics"))[1]
        stats = await until_shown(service, None)
        await service.until_totals(redis_forgot=1, claims_restored=2, not_restored=0, clean_stream_expired=0)
        assert "dedup_rebuild_progress_ratio 1.0" in (await service.get("/metrics"))[1]
        assert service.count(Count.RESTORED) == 2
