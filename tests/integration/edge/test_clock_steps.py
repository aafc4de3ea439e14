"""A real sender whose wall clock is set while its readings wait."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from sandbox.hub.stand_in import StandIn
from sandbox.peers import moved_clock
from sandbox.peers.links import Link
from tests.support import hub
from tests.support.senders import SenderProcess, document, readings_of, until

READINGS = 1_000
HOUR = 3600.0


async def test_fresh_readings_survive_a_clock_that_jumps_by_hours_and_years_and_back(
    stand_in: StandIn, tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    moved_clock.write(clock, -5 * HOUR)
    lines = tmp_path / "readings.jsonl"
    lines.write_text("".join(json.dumps({"sequence": number}) + "\n" for number in range(READINGS)))
    file = {"name": "file", "kind": "file", "format": "jsonl", "path": str(lines), "uri": "urn:file", "identity": "sequence"}
    link = await Link("127.0.0.1", stand_in.amqp_port).start()
    through = stand_in.connection_string("telemetry").replace(f":{stand_in.amqp_port}/", f":{link.port}/")
    link.cut()
    sender = SenderProcess(
        tmp_path, "edge-1", through, document({**file, "follow": True}), clock=clock, EDGE_SPOOL_MAX_AGE_SECONDS="3600"
    )

    def steps() -> int:
        """Commits look at the clock, so one line more makes it look."""
        with lines.open("a") as out:
            out.write(json.dumps({"sequence": len(lines.read_text().splitlines())}) + "\n")
        return int((sender.status() or {}).get("clock_steps", 0))

    def steps_reach(number: int) -> bool:
        return steps() >= number

    try:
        await until(lambda: ((sender.status() or {}).get("spool") or {}).get("bytes", 0) > 0, sender.log_tail())
        await until(lambda: (sender.status() or {"spool": {"readings": 0}})["spool"]["readings"] == READINGS, "not spooled")
        for expected, error in enumerate((0.0, 10 * 365 * 24 * HOUR, 0.0), 1):
            moved_clock.write(clock, error)
            await until(partial(steps_reach, expected), sender.log_tail())
        sender.kill()
        moved_clock.write(clock, 5 * HOUR)
        sender.start()
        await until(partial(steps_reach, 1), "a step is not noticed across a restart")
        link.mend()
        await until(lambda: (sender.status() or {"spool": {"readings": 1}})["spool"]["readings"] == 0, sender.log_tail())
        status = sender.status()
        assert status
        assert not any(status["dropped"].values())
    finally:
        sender.kill()
        await link.stop()
    sent = {
        data["sequence"]
        for event in await hub.read_all(stand_in.connection_string("telemetry"))
        for _, _, data in readings_of(event)
    }
    assert sent == set(range(len(lines.read_text().splitlines())))
