"""What a gateway has no use for is not in its memory, and what it has stays below the limit that the templates set."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_sender.buffering.salvage import SpoolFile
from edge_sender.buffering.spool_values import ROW_OVERHEAD_BYTES, SpoolLimits
from edge_sender.clocks import system_clocks
from edge_sender.identity.readings import Reading
from sandbox.hub.stand_in import StandIn
from sandbox.peers.links import Link
from sandbox.peers.processes import free_port
from tests.support.senders import SenderProcess, document, until

LIBRARIES = {"asyncua", "paho.mqtt", "cryptography", "azure.eventhub", "azure.iot.device", "azure.storage.blob", "aiohttp"}
IOT = {"EDGE_UPLINK": "iot", "EDGE_CONNECTION_STRING": "HostName=localhost;DeviceId=edge-1;SharedAccessKey=c2VjcmV0"}
OPCUA = {
    "kind": "opcua",
    "endpoint": f"opc.tcp://127.0.0.1:{free_port()}",
    "namespace_uri": "u:a",
    "identity": "source-time",
}
MQTT = {
    "kind": "mqtt",
    "host": "127.0.0.1",
    "topics": ["a"],
    "uri_prefix": "urn:",
    "identity": "content",
    "port": free_port(),
}
FILE = {"kind": "file", "path": "a.jsonl", "format": "jsonl", "uri": "urn:a", "identity": "sequence"}
SYNTHETIC = {"name": "load", "kind": "synthetic", "identity": "sequence", "count": 100, "interval_seconds": 0.1}
LIMIT_MIB = 256
"""What deploy/ gives the module."""
MEMORY = Path("/dev/shm")  # noqa: S108  # only where to put folders of random names
WAITING = 300_000
READING_BYTES = 250


def imported(sender: SenderProcess) -> set[str]:
    """All modules that the process has loaded, as the interpreter reports them."""
    return set(re.findall(r"^import time:.*\| +([\w.]+)$", sender.log_path.read_text(), re.MULTILINE))


@pytest.mark.parametrize(
    ("source", "settings", "used"),
    [
        (OPCUA, {}, {"asyncua", "cryptography", "azure.eventhub"}),
        (MQTT, {}, {"paho.mqtt", "azure.eventhub"}),
        (FILE, {}, {"azure.eventhub"}),
        (FILE, IOT, {"azure.iot.device", "paho.mqtt"}),
    ],
)
async def test_only_what_the_configuration_uses_is_loaded(
    source: dict[str, Any], settings: dict[str, str], used: set[str], stand_in: StandIn, tmp_path: Path
) -> None:
    connection_string = stand_in.connection_string("telemetry")
    sender = SenderProcess(
        tmp_path,
        "edge-1",
        connection_string,
        document({**source, "name": "one"}),
        None,
        PYTHONPROFILEIMPORTTIME="1",
        **settings,
    )
    try:
        await until(lambda: sender.status() is not None, "it does not start")
    finally:
        sender.kill()
    assert imported(sender) & LIBRARIES == used


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where that is possible: there is nothing to learn from a slow disk."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="spool-", dir=MEMORY) as folder:
        yield Path(folder)


def fill(path: Path) -> None:
    spool = SpoolFile(path, SpoolLimits(10**9, 3600.0, "drop-oldest"), system_clocks()).open()
    for first in range(0, WAITING, 10_000):
        spool.commit([Reading(b"{}", b"%0248d" % number) for number in range(first, first + 10_000)])
    spool.close()


def peak_mib(pid: int) -> float:
    """The most memory that the process ever had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux' /proc")
async def test_a_full_spool_and_an_uplink_that_is_down_stay_within_the_templates_memory(
    stand_in: StandIn, folder: Path
) -> None:
    """While half of the spool has to go, because its limit was lowered, and 1,000 readings arrive each second."""
    link = await Link("127.0.0.1", stand_in.amqp_port).start()
    link.cut()
    fill(folder / "edge-1.db")
    limit = WAITING * (READING_BYTES + ROW_OVERHEAD_BYTES) // 2
    through = stand_in.connection_string("telemetry").replace(f":{stand_in.amqp_port}/", f":{link.port}/")
    sender = SenderProcess(folder, "edge-1", through, document(SYNTHETIC), EDGE_SPOOL_MAX_BYTES=str(limit))

    def dropped() -> int:
        status = sender.status()
        return int(status["dropped"]["spool-full"]) if status and status["spool"]["bytes"] <= limit else 0

    try:
        await until(lambda: dropped() > WAITING // 2 + 3_000, sender.log_tail())
        assert peak_mib(sender.process.pid) < LIMIT_MIB * 0.75
        log = sender.spool.with_name("edge-1.db-wal").stat().st_size
        assert log < 16 * 2**20
    finally:
        sender.kill()
        await link.stop()
