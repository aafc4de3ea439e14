"""Whatever a device sends: each reading is kept or dead-lettered, not both, and what is left of a body says the same."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dedup_service.core.events import Extraction, InputEvent, Reading
from dedup_service.core.other_formats import FormatExtractor
from dedup_service.errors import UndeliverableError
from tests.property.test_formats import MESSAGES, scalars, values
from wire.formats.messages import Message
from wire.formats.minting import chosen_strategy

OPTIONS: dict[str, Any] = {
    "azure-iot-operations": {},
    "ignition": {"rename": {"*-?": "a"}},
    "json": [
        {"readings": "/*/*", "source": ["@key"], "time": "/ts", "value": ["/val"], "numbers": True},
        {"inside": "", "source": ["/tag"], "time": "/ts", "time_format": "ms"},
        {"inside": "/data", "readings": "/*", "source": ["@key"], "time": "/ts"},
    ],
    "kepware": {},
    "opc-publisher": {},
    "siemens": {"bare_ids": True},
    "sparkplug": {},
    "telegraf": {},
}
EXTRACTORS = [
    FormatExtractor(name, json.dumps(options).encode(), chosen_strategy("source-time+value"), 1_000_000)
    for name, options in OPTIONS.items()
]


def extracted(extractor: FormatExtractor, event: InputEvent) -> Extraction | None:
    try:
        return extractor.extract(event)
    except UndeliverableError:
        return None


def keys(readings: list[Reading]) -> list[tuple[str, str]]:
    return [(reading.source, reading.id) for reading in readings]


def check(body: bytes, message: Message, data: st.DataObject) -> None:
    event = InputEvent("0", 0, "0", 0, body, True, message.content_type, application_properties=message.properties)
    for extractor in EXTRACTORS:
        extraction = extracted(extractor, event)
        if extraction is None:
            continue
        indexes = [reading.index for reading in extraction.readings] + [bad.index for bad in extraction.bad]
        assert sorted(indexes) == list(range(len(indexes))), "each part is a reading or a dead letter"
        assert indexes or extraction.not_readings, "an event of which nothing is said would vanish uncounted"
        if not extraction.readings or extraction.container is None:
            continue
        kept = data.draw(st.lists(st.sampled_from(extraction.readings), min_size=1, max_size=5, unique_by=lambda r: r.index))
        kept.sort(key=lambda reading: reading.index)
        rest = extraction.container.holding([reading.index for reading in kept])
        again = extracted(extractor, msgspec.structs.replace(event, body=rest))
        assert again is not None
        assert keys(again.readings) == keys(kept), f"{extractor.name}: {rest!r}"
        assert again.bad == []
        parts = [reading.raw for reading in extraction.readings]
        assert [reading.raw for reading in again.readings] == [parts[extraction.readings.index(one)] for one in kept]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(MESSAGES), st.data())
def test_real_messages_with_a_part_replaced(message: Message, data: st.DataObject) -> None:
    at, size = data.draw(st.integers(0, len(message.body))), data.draw(st.integers(0, 20))
    new = data.draw(scalars.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=5))
    check(message.body[:at] + new + message.body[at + size :], message, data)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(MESSAGES), st.data())
def test_real_messages_as_they_are(message: Message, data: st.DataObject) -> None:
    check(message.body, message, data)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(values, st.data())
def test_any_json(value: Any, data: st.DataObject) -> None:
    check(json.dumps(value).encode(), Message(b""), data)
