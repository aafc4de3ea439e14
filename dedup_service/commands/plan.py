"""`dedup-service plan`: what a load requires, as text or JSON."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from dedup_service.core.sizing import PlannedLoad, copy_us, plan
from dedup_service.core.times import duration_seconds


def seconds_of(text: str) -> int:
    """Parses `90m`, `4h` or `1d`. Raises ArgumentTypeError."""
    try:
        seconds = duration_seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return int(positive(str(seconds)))


def positive(text: str) -> float:
    if not (number := float(text)) > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def count(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def add_plan(commands: Any) -> None:
    parser = commands.add_parser(
        "plan",
        help="calculate how large a deployment must be",
        description="Pods, partitions, Redis, IoT Hub and Event Hubs units for a load, from measured costs "
        "(docs/performance.md). Needs no settings and no connections.",
    )
    parser.add_argument("--rate", type=positive, required=True, help="unique readings per second")
    parser.add_argument("--replicas", type=count, default=3, help="replicas that send each of them (default: %(default)s)")
    parser.add_argument("--batch", type=count, default=1, help="readings in one event (default: %(default)s)")
    parser.add_argument("--body", type=count, default=100, help="bytes of a reading's data (default: %(default)s)")
    parser.add_argument("--window", type=seconds_of, default=14_400, metavar="4h", help="window of the claims (default: 4h)")
    parser.add_argument("--output-partitions", type=count, default=4, help="of the clean hub (default: %(default)s)")
    parser.add_argument(
        "--headroom", type=positive, default=2.0, help="capacity over load; at 2 a backlog shrinks as fast as it grew"
    )
    parser.add_argument("--json", action="store_true", help="for programs")


def planned(arguments: argparse.Namespace) -> str:
    load = PlannedLoad(
        readings_per_second=arguments.rate,
        replicas=arguments.replicas,
        batch=arguments.batch,
        body_bytes=arguments.body,
        window_seconds=arguments.window,
        output_partitions=arguments.output_partitions,
        headroom=arguments.headroom,
    )
    return json.dumps({"load": asdict(load), "plan": asdict(plan(load))}, indent=2) if arguments.json else as_text(load)


def as_text(load: PlannedLoad) -> str:
    needed = plan(load)
    units = ", or ".join(f"{number} × {tier}" for tier, number in needed.iot_hub_units.items()) or "no tier can carry it"
    rows = [
        (
            "load",
            f"{load.copies_per_second:,.0f} copies/s, {load.events_per_second:,.0f} events/s of {load.event_bytes:,} bytes",
        ),
        ("service", f"{needed.pods} pods of 1 core ({needed.cores:.2f} cores at this load, {copy_us(load):.1f} µs a copy)"),
        ("input hub", f"at least {needed.partitions} partitions"),
        ("IoT Hub", f"{needed.metered_messages_per_day:,.0f} messages of 4 KB a day: {units}"),
        ("Redis", f"{_size(needed.redis_bytes)} of claims, {needed.redis_cores:.2f} cores; maxmemory 1.5 times that"),
        ("", f"{needed.claims_per_second:,.0f} claims/s, {needed.confirms_per_second:,.0f} confirms/s"),
        (
            "clean hub",
            f"{needed.clean_throughput_units} throughput units ({needed.clean_events_per_second:,.0f} events/s at most)",
        ),
        *(("note", warning) for warning in needed.warnings),
    ]
    return "\n".join(f"{name:<10} {value}" for name, value in rows)


def _size(number: float) -> str:
    units = ["bytes", "KB", "MB", "GB", "TB"]
    while number >= 1000 and len(units) > 1:
        number /= 1000
        units.pop(0)
    return f"{number:,.1f} {units[0]}"
