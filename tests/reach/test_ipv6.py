"""Everything by IPv6 addresses: hubs, Redis and the REST API."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from sandbox.hub.stand_in import HubOptions, StandIn
from sandbox.peers.links import Link
from sandbox.peers.processes import free_port
from tests.support.processes import DEADLINE_SECONDS, ServiceProcess


async def test_the_service_starts_and_passes_its_check(redis_url: str, tmp_path: Path, namespace: str) -> None:
    stand_in, redis = (
        StandIn(HubOptions(host="::1", amqp_port=0, mqtt_port=None)),
        Link("127.0.0.1", int(redis_url.rpartition(":")[2])),
    )
    await stand_in.start()
    await redis.start("::1", free_port())
    service = ServiceProcess(stand_in, f"redis://[::1]:{redis.port}", tmp_path, namespace, DEDUP_HTTP_HOST="[::1]")
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (await asyncio.to_thread(check, service)).returncode:
                assert service.process.poll() is None
    finally:
        service.process.kill()
        service.process.wait()
        await redis.stop()
        await stand_in.stop()


def check(service: ServiceProcess) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "dedup_service", "check"], env=service.environment, check=False)
