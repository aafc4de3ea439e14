"""`kepware`: IoT Gateway's standard template, and the usual wide one.

Each server polls by itself, so that times of two servers never match exactly (time-bucket). Another template is `json` with
pointers of its own.
"""

from __future__ import annotations

import msgspec

from wire.formats.any_json import Json, Shape

STANDARD = Shape(
    readings="/values/*",
    has=["/id"],
    source=["/id"],
    time="/t",
    time_format="ms",
    value=["/v", "/q"],
    numbers=True,
)
"""The outer `timestamp` is the time of sending."""
WIDE = Shape(
    readings="/*",
    has=["/tagname"],
    source=["/tagname"],
    time="/timestamp",
    time_format="ms",
    value=["/value"],
    numbers=True,
)


class KepwareOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


def kepware(_: KepwareOptions) -> Json:
    return Json(STANDARD, WIDE, name="kepware")
