"""The stand-in, used by the unmodified SDKs for Go, Java and JavaScript: each in one program that prints what it saw.

A refusal is named as the SDK names it: by a code of its own, or by the condition that the hub sent.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.hub.stand_in import HubOptions, StandIn
from sandbox.peers.node import install_node_packages
from tests.support import golang, hub, java, peers

PARTITIONS = ["0", "1", "2", "3"]
HOUR_OF_EVENTS = 3_600_000
"""As many as a throughput unit admits in an hour."""


@pytest.fixture
async def busy() -> AsyncIterator[str]:
    """A hub whose throughput unit is used up by others."""
    stand_in = StandIn(HubOptions(amqp_port=0, mqtt_port=None, throughput_units=1))
    await stand_in.start()
    assert stand_in.namespace.throughput is not None
    assert stand_in.namespace.throughput.admits(HOUR_OF_EVENTS, 0, time.monotonic())
    yield stand_in.connection_string("clean")
    await stand_in.stop()


@pytest.fixture
def arguments(stand_in: StandIn, busy: str) -> tuple[str, ...]:
    """Of each program: the hub, a consumer group, a partition, how many events to send, and the busy hub."""
    return stand_in.connection_string("telemetry"), "dedup", "1", "3", busy


@pytest.mark.timeout(golang.BUILD_SECONDS + 60)
async def test_the_go_sdk(arguments: tuple[str, ...], tmp_path: Path) -> None:
    program = await asyncio.to_thread(golang.build, golang.PEER, tmp_path)
    done = await asyncio.to_thread(subprocess.run, [str(program), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen: Any = json.loads(done.stdout)
    assert (seen["Hub"]["Name"], seen["Hub"]["PartitionIDs"]) == ("telemetry", PARTITIONS)
    assert (seen["State"]["LastEnqueuedSequenceNumber"], seen["State"]["IsEmpty"]) == (2, False)
    assert [event["Body"] for event in seen["FromStart"]] == ["go-0", "go-1", "go-2"]
    assert [event["MessageID"] for event in seen["AfterNumber"]] == ["go-1", "go-2"]
    assert seen["FromStart"][2]["Properties"] == {"number": 2, "text": "ä"}
    refusals = seen["Refusals"]
    assert "status code 404 and description: The messaging entity" in refusals.pop("unknown hub")
    assert refusals == {
        "wrong key": "unauthorized",
        "missing right": "unauthorized",
        "unknown group": "connlost",  # whatever else ends a link
        "unknown partition": "connlost",
        "beyond the end": "connlost",
        "taken by another": "ownershiplost",
        "too many readers": "connlost",
        "too fast": "com.microsoft:server-busy",
    }


@pytest.mark.timeout(java.FETCH_SECONDS + java.RUN_SECONDS)
async def test_the_java_sdk(arguments: tuple[str, ...]) -> None:
    seen: Any = json.loads(await asyncio.to_thread(java.run, *arguments))
    assert (seen["name"], seen["partitionIds"]) == ("telemetry", PARTITIONS)
    assert (seen["last"], seen["isEmpty"]) == (2, False)
    assert [event["body"] for event in seen["fromStart"]] == ["java-0", "java-1", "java-2"]
    assert [event["messageId"] for event in seen["afterNumber"]] == ["java-1", "java-2"]
    assert seen["fromStart"][2]["properties"] == {"number": 2, "text": "ä"}
    assert seen["refusals"] == {
        "unknown hub": "amqp:not-found",
        "wrong key": "amqp:unauthorized-access",
        "missing right": "amqp:unauthorized-access",
        "unknown group": "amqp:not-found",
        "unknown partition": "com.microsoft:argument-out-of-range",
        "beyond the end": "com.microsoft:argument-error",
        "too large": "amqp:link:message-size-exceeded",
        "taken by another": "amqp:link:stolen",
        "too many readers": "amqp:resource-limit-exceeded",
        "too fast": "com.microsoft:server-busy",
    }


async def test_the_javascript_sdk(arguments: tuple[str, ...]) -> None:
    await asyncio.to_thread(install_node_packages)
    telemetry = arguments[0]
    await hub.send(telemetry, [hub.event('{"from":"python"}', "application/json", n=1)], "1")
    seen: Any = await asyncio.to_thread(peers.run_node, "event_hubs.mjs", *arguments)
    assert seen["partitionIds"] == PARTITIONS
    assert [event["sequenceNumber"] for event in seen["events"]] == [0, 1, 2, 3, 4]
    assert seen["events"][1]["body"] == {"i": 0}
    assert seen["events"][1]["properties"] == {"number": 0, "text": "ä"}
    assert seen["events"][1]["messageId"] == "js-0"
    assert seen["events"][4]["body"] == [0, 255, 1]
    received = await hub.receive(telemetry, "1", 5)
    assert received[1].message_id == "js-0"
    assert received[1].body_as_json() == {"i": 0}
    assert seen["refusals"] == {
        "unknown hub": "MessagingEntityNotFoundError",
        "wrong key": "UnauthorizedError",
        "missing right": "UnauthorizedError",
        "unknown group": "MessagingEntityNotFoundError",
        "unknown partition": "ArgumentOutOfRangeError",
        "beyond the end": "ArgumentError",
        "too large": "MessageTooLargeError",
        "taken by another": "ReceiverDisconnectedError",
        "too many readers": "QuotaExceededError",
        "too fast": "ServerBusyError",
        "idempotent sender": "NotImplementedError",
    }
