"""Input events for tests of the core: short to write, complete enough for the pipeline."""

from __future__ import annotations

import json
from typing import Any

from dedup_service.core.events import DEVICE_ID, InputEvent
from wire.cloudevents import BATCH_CONTENT_TYPE, STRUCTURED_CONTENT_TYPE


def event(body: bytes = b"", **fields: Any) -> InputEvent:
    defaults: dict[str, Any] = {"partition_id": "0", "sequence_number": 0, "offset": "0", "enqueued_ms": 1_700_000_000_000}
    return InputEvent(**{**defaults, "body": body, **fields})


def single(
    reading_id: Any = "1", body: bytes = b"{}", source: Any = "urn:a", device: str = "edge-1", **fields: Any
) -> InputEvent:
    properties = {"cloudEvents_id": reading_id, "cloudEvents_source": source}
    return event(body, application_properties=properties, annotations={DEVICE_ID: device}, **fields)


def element(reading_id: str, source: str = "urn:a", data: Any = None) -> bytes:
    return json.dumps({"id": reading_id, "source": source, "data": data}).encode()


def batch_of(elements: list[bytes], device: str = "edge-1", **fields: Any) -> InputEvent:
    body = b"[" + b", ".join(elements) + b"]"
    return event(body, content_type=BATCH_CONTENT_TYPE, annotations={DEVICE_ID: device}, **fields)


def structured(body: bytes, **fields: Any) -> InputEvent:
    return event(body, content_type=STRUCTURED_CONTENT_TYPE, **fields)
