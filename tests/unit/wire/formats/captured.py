"""Reads the files of tests/vectors/formats as a hub would deliver their events."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wire.formats.messages import Format, Found, Message, Part
from wire.formats.messages import Path as Place

FILES = Path(__file__).parents[3] / "vectors" / "formats"
GZIP = b"\x1f\x8b"


def messages(name: str) -> list[Message]:
    file = json.loads((FILES / f"{name}.json").read_text())
    return [_message(file.get("each", {}), event) for event in file["events"]]


def _message(each: dict[str, Any], event: dict[str, Any]) -> Message:
    system = each.get("system", {}) | event.get("system", {})
    body = base64.b64decode(event["body_base64"]) if "body_base64" in event else json.dumps(event["body"]).encode()
    return Message(
        gzip.decompress(body) if body.startswith(GZIP) else body,
        system.get("content-type"),
        each.get("properties", {}) | event.get("properties", {}),
        system,
        each.get("annotations", {}) | event.get("annotations", {}),
    )


def parts(form: Format, *names: str) -> list[Part]:
    return [part for name in names for message in messages(name) for part in form.read(message)]


def found(form: Format, *names: str) -> list[Found]:
    return [part for part in parts(form, *names) if isinstance(part, Found)]


def keys(readings: Iterable[Found]) -> set[tuple[str, int | None, str]]:
    """What tells two readings apart with the strategy `source-time+value`."""
    return {(one.source, one.time_ns, json.dumps(one.value, sort_keys=True)) for one in readings}


def contents(readings: Iterable[Found]) -> set[tuple[str, str]]:
    """What tells two events apart with the strategy `content`."""
    return {(one.source, json.dumps(one.data, sort_keys=True)) for one in readings}


def at(body: Any, place: Place) -> Any:
    """The part of the body; raises LookupError or TypeError where there is none."""
    for step in place:
        body = body[step]
    return body
