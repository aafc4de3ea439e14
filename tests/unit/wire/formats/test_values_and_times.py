"""What senders write for "no time", and for one status or quality in several ways."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wire.formats.messages import Found, Message, Part
from wire.formats.minting import Unminted, chosen_strategy, mint
from wire.formats.registry import make_format

AIO = {"type": "ua-deltaframe", "source": "urn:s", "subject": "oven"}
T = "2026-03-02T08:15:30.1Z"


def read(name: str, body: Any, options: Any = None, properties: dict[str, Any] | None = None) -> list[Part]:
    form = make_format(name, json.dumps(options or {}))
    return list(form.read(Message(json.dumps(body).encode(), properties=properties or {})))


def stamped(name: str, stamp: Any) -> list[Part]:
    bodies: dict[str, Any] = {
        "azure-iot-operations": {"t": {"SourceTimestamp": stamp, "Value": 1}},
        "ignition": {
            "topic": {"groupId": "g", "edgeNodeId": "e", "type": "NDATA"},
            "payload": {"metrics": [{"name": "t", "timestamp": stamp, "value": 1}]},
        },
        "json": {"at": stamp, "v": 1},
        "opc-publisher": {"t": {"SourceTimestamp": stamp, "Value": 1}, "u": {"SourceTimestamp": T, "Value": 1}},
        "siemens": {"seq": 1, "val": 1, "ts": stamp},
        "telegraf": {"name": "t", "fields": {"v": 1}, "timestamp": stamp},
    }
    shape = {"source": ["text:s"], "time": "/at", "value": ["/v"]}
    return read(name, bodies[name], shape if name == "json" else None, AIO | {"topic": "a/b"})


TEXTS = ["0001-01-01T00:00:00Z", "1601-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.9999999Z"]
CASES = [(name, text) for name in ("azure-iot-operations", "ignition", "json", "siemens", "telegraf") for text in TEXTS]


@pytest.mark.parametrize(("name", "stamp"), [*CASES, ("telegraf", -62_135_596_800)])
def test_the_earliest_and_the_latest_time_there_is_stand_for_none(name: str, stamp: Any) -> None:
    """All values of such a source would have that one time, and a value that comes again would be taken for a copy."""
    (part,) = stamped(name, stamp)
    assert isinstance(part, Found)
    assert part.time_ns is None
    key = mint(part, chosen_strategy("source-time+value"))
    assert isinstance(key, Unminted)
    assert key.reason == "without-time"


@pytest.mark.parametrize("name", ["azure-iot-operations", "ignition", "json", "siemens", "telegraf"])
def test_any_other_time_is_one(name: str) -> None:
    (part,) = stamped(name, T)
    assert isinstance(part, Found)
    assert part.time_ns == 1_772_439_330_100_000_000


def aio_statuses(*statuses: Any) -> list[Any]:
    bodies = [{"t": {"SourceTimestamp": T, "Value": None, "StatusCode": status}} for status in statuses]
    parts = [part for body in bodies for part in read("azure-iot-operations", body, None, AIO)]
    return [part.value["status"] if isinstance(part, Found) else part for part in parts]


def test_a_status_is_the_same_in_all_its_forms() -> None:
    assert aio_statuses(None, 0, "Good", {"Code": 0}, {"Symbol": "Good"}, {"Code": 1152, "Symbol": "Good"}) == [0] * 6
    bad = 0x80310000
    assert aio_statuses({"Code": bad}, bad, str(bad), {"Code": str(bad)}, {"Code": bad + 1152}) == [bad] * 5


def test_a_status_that_is_only_a_symbol_is_not_good() -> None:
    assert aio_statuses({"Symbol": "BadNoCommunication"}) == ["BadNoCommunication"]


def test_a_status_of_another_kind_is_refused() -> None:
    (part,) = aio_statuses([1])
    assert part.reason == "unreadable-status"


def test_connectors_that_quote_numbers_quote_the_quality_too() -> None:
    values = [{"id": "1", "val": val, "ts": T, "qc": qc} for val, qc in ((5, 3), ("5", "3"), (5.0, "2"))]
    parts = read("siemens", {"seq": 1, "vals": values}, {"bare_ids": True}, {"topic": "a/b"})
    assert [part.value for part in parts if isinstance(part, Found)] == [[5, "good"]] * 3
