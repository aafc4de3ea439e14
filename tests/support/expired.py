"""A clean hub of which events have expired."""

from __future__ import annotations

import time

from sandbox.amqp.messages import BareMessage, data_section
from sandbox.hub.stand_in import StandIn


def let_expire(stand_in: StandIn, oldest_seconds: int) -> None:
    """Each partition of the clean hub, which has had no events yet, gets three. One of them expires, and the oldest that is
    left is that old."""
    now_ms = time.time_ns() // 1_000_000
    for partition in stand_in.namespace.hubs["clean"].partitions:
        for age_seconds in (2 * oldest_seconds, oldest_seconds, 0):
            partition.append(BareMessage({}, data_section(b"x")), {}, now_ms - age_seconds * 1000)
        del partition.entries[0]
