"""The demo's setup: three edges that send the same readings in different ways, and the settings of each process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Edge:
    name: str
    identity: str
    """In IoT Hub: `device` or `device/module`."""
    batch_readings: int
    batch_bytes: int
    batch_seconds: float


EDGES = (
    Edge("edge-1", "edge-1/sender", 1, 4096, 1.0),
    Edge("edge-2", "edge-2/sender", 20, 4096, 0.5),
    Edge("edge-3", "edge-3", 50, 16_384, 0.8),
)
VICTIM = EDGES[1]
"""Killed after one third of the time, restarted after two thirds."""

LINGER_SECONDS = 120.0
"""For how long the plant serves at most after that."""
LAST_READINGS_SECONDS = 3.0
"""How long to wait once the machines have stopped, so that every edge receives the last readings."""

IDENTITY = "*/vibration=sequence,*=source-time"
CONSUMER_GROUP = "dedup"


def hub_arguments(host: str) -> list[str]:
    devices = [part for edge in EDGES for part in ("--device", edge.identity)]
    return ["sandbox", "hub", "--host", host, "--amqp-port", "0", "--consumer-group", "audit", *_group(), *devices]


def _group() -> list[str]:
    return ["--consumer-group", CONSUMER_GROUP]


def plant_arguments(port: int, journal: Path) -> list[str]:
    wait = ["--wait-for-subscribers", str(len(EDGES))]
    linger = ["--linger-seconds", str(LINGER_SECONDS)]
    return ["sandbox", "plant", "--port", str(port), "--journal", str(journal), *wait, *linger]


def edge_sources(plant: dict[str, Any], publishing_ms: float = 100.0) -> str:
    """The sources' document (JSON) of an edge that reads the plant."""
    servers = ("endpoints", "server_uri") if "endpoints" in plant else ("endpoint",)
    source = {
        "name": "plant",
        "kind": "opcua",
        **{name: plant[name] for name in servers},
        "namespace_uri": plant["namespace_uri"],
        "payload": "json",
        "publishing_ms": publishing_ms,
        "identity": IDENTITY,
    }
    return json.dumps({"sources": [source]})


def edge_environment(edge: Edge, hub: dict[str, Any], plant: dict[str, Any], folder: Path) -> dict[str, str]:
    return {
        "EDGE_SOURCES": edge_sources(plant),
        "EDGE_REPLICA": edge.name,
        "EDGE_SPOOL_PATH": str(folder / f"{edge.name}.db"),
        "EDGE_HTTP_PORT": "0",
        "EDGE_UPLINK": "iot",
        "EDGE_CONNECTION_STRING": hub["devices"][edge.identity],
        "EDGE_CA_FILE": hub["ca_file"],
        "EDGE_BATCH_MAX_READINGS": str(edge.batch_readings),
        "EDGE_BATCH_MAX_BYTES": str(edge.batch_bytes),
        "EDGE_BATCH_MAX_SECONDS": str(edge.batch_seconds),
    }


GROUPS = """\
groups:
  - name: plant
    devices: ["edge-*"]
    expected_replicas: 3
    silent_after_seconds: 2
"""


def service_environment(
    hub: dict[str, Any], redis_url: str, folder: Path, port: int, groups_yaml: str = GROUPS
) -> dict[str, str]:
    strings = hub["connection_strings"]
    groups = folder / "groups.yaml"
    groups.write_text(groups_yaml)
    return {
        "DEDUP_INPUT_CONNECTION_STRING": strings["telemetry"],
        "DEDUP_INPUT_CONSUMER_GROUP": CONSUMER_GROUP,
        "DEDUP_OUTPUT_CONNECTION_STRING": strings["clean"],
        "DEDUP_OUTPUT_CONSUMER_GROUP": CONSUMER_GROUP,
        "DEDUP_DEAD_LETTER_CONNECTION_STRING": strings["dead-letter"],
        "DEDUP_REDIS_URL": redis_url,
        "DEDUP_CONFIG_FILE": str(groups),
        "DEDUP_NAMESPACE": f"demo-{port}",
        "DEDUP_CHECKPOINT_URL": f"sqlite:///{folder / 'checkpoints.db'}",
        "DEDUP_HTTP_HOST": "127.0.0.1",
        "DEDUP_HTTP_PORT": str(port),
        "DEDUP_LOG_FORMAT": "console",
    }
