"""One edge is offline for an hour of plant time and comes back with its whole backlog."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path

from sandbox.hub.stand_in import StandIn
from sandbox.peers.links import Link
from tests.support import hub
from tests.support.processes import ServiceProcess
from tests.support.senders import SenderProcess, ask_until, document, readings_of

HOUR_SECONDS = 3600
INTERVAL_SECONDS = 3
SOURCES = 5
READINGS = HOUR_SECONDS // INTERVAL_SECONDS * SOURCES


def write_hour(path: Path) -> None:
    """Write what the machines emitted in the last hour, in the form of a historian's file."""
    start = time.time() - HOUR_SECONDS
    with path.open("w") as file:
        for sequence in range(HOUR_SECONDS // INTERVAL_SECONDS):
            at = datetime.fromtimestamp(start + sequence * INTERVAL_SECONDS, UTC).isoformat()
            for source in range(SOURCES):
                file.write(json.dumps({"machine": f"m{source}", "sequence": sequence, "at": at}) + "\n")


def coverage(service: ServiceProcess) -> dict[str, float]:
    return {item["replica"]: item["figures"]["24h"]["coverage"] or 0.0 for item in service.ask("replicas")}


async def test_its_backlog_causes_no_duplicate_and_completes_its_coverage(
    stand_in: StandIn, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    lines = tmp_path / "hour.jsonl"
    file = {
        "name": "file",
        "kind": "file",
        "format": "jsonl",
        "path": str(lines),
        "uri": "urn:plant:{machine}",
        "time": "at",
    }
    sources = document({**file, "identity": "sequence", "follow": True})
    link = await Link("127.0.0.1", stand_in.amqp_port).start()
    direct = stand_in.connection_string("telemetry")
    service = ServiceProcess(stand_in, redis_url, tmp_path, namespace)
    one = SenderProcess(tmp_path, "edge-1", direct, sources)
    two = SenderProcess(tmp_path, "edge-2", direct.replace(f":{stand_in.amqp_port}/", f":{link.port}/"), sources)
    try:
        link.cut()
        write_hour(lines)

        def spooled() -> int | None:
            status = two.status()
            return None if status is None else int(status["spool"]["readings"])

        def is_complete(replica: str) -> bool:
            """Not of what has been counted so far, but of all."""
            return service.stats()["clean_readings"] >= READINGS and coverage(service).get(replica, 0.0) == 1.0

        await ask_until(lambda: spooled() == READINGS, "the offline edge does not keep the hour")
        await ask_until(lambda: is_complete("edge-1"), None)
        assert (await asyncio.to_thread(coverage, service)).get("edge-2", 0.0) == 0.0
        link.mend()
        await ask_until(lambda: is_complete("edge-2"), None)
        await ask_until(lambda: spooled() == 0, "the spool is not emptied")
        await service.until_finished(stand_in)
        clean = [
            reading for event in await hub.read_all(stand_in.connection_string("clean")) for reading in readings_of(event)
        ]
        assert len(clean) == READINGS
        assert len({reading_id for _, reading_id, _ in clean}) == READINGS
    finally:
        for process in (one.process, two.process, service.process):
            process.kill()
            process.wait()
        await link.stop()
