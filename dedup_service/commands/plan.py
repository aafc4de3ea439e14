"""`dedup-service plan`: what a load requires, as text, as JSON, or as values for the chart."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict
from typing import Any

import yaml

from dedup_service.core.overview import BYTES_PER_CLAIM
from dedup_service.core.sizing import MAX_UTILIZATION, PlannedLoad, copy_us, plan
from dedup_service.core.times import duration_seconds

LEAST_MILLICORES = 100
"""What a pod requests without any load: it renews its leases, and answers."""


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
    written = parser.add_mutually_exclusive_group()
    written.add_argument("--json", action="store_true", help="for programs")
    written.add_argument("--values", action="store_true", help="as values for the Helm chart, to be added to one's own")


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
    if arguments.json:
        return json.dumps({"load": asdict(load), "plan": asdict(plan(load))}, indent=2)
    return as_values(load) if arguments.values else as_text(load)


def as_values(load: PlannedLoad) -> str:
    """YAML; what the chart has no value for is in comments."""
    comments = "".join(f"# {line}\n" for line in as_text(load).splitlines())
    return comments + yaml.safe_dump(chart_values(load), sort_keys=False).rstrip()


def chart_values(load: PlannedLoad) -> dict[str, Any]:
    needed = plan(load)
    millicores = needed.cores * load.headroom / MAX_UTILIZATION / needed.pods * 1000
    settings: dict[str, Any] = {"window_seconds": load.window_seconds}
    if needed.redis_cores > MAX_UTILIZATION:
        settings["redis_cluster"] = True
    return {
        "replicaCount": needed.pods,
        "partitions": needed.partitions,
        "resources": {"requests": {"cpu": f"{max(LEAST_MILLICORES, math.ceil(millicores / 50) * 50)}m"}},
        "settings": settings,
    }


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
        ("", f"{needed.idle_commands_per_second:,.0f} commands/s without any reading"),
        (
            "limits",
            f"DEDUP_MAX_READINGS_PER_SECOND={needed.replica_readings_per_second}, "
            f"DEDUP_MAX_READINGS_IN_WINDOW={needed.replica_readings_in_window}: a replica that floods "
            f"takes up to {_size(needed.replica_readings_in_window * BYTES_PER_CLAIM)} of Redis",
        ),
        ("blobs", f"{needed.checkpoints_per_hour:,.0f} writes an hour at most"),
        (
            "clean hub",
            f"{needed.clean_throughput_units} throughput units ({needed.clean_events_per_second:,.0f} events/s at most)",
        ),
        ("", f"{needed.clean_connections:,} connections to it at most, and {needed.input_connections:,} to the input hub"),
        *(("note", warning) for warning in needed.warnings),
    ]
    return "\n".join(f"{name:<10} {value}" for name, value in rows)


def _size(number: float) -> str:
    units = ["bytes", "KB", "MB", "GB", "TB"]
    while number >= 1000 and len(units) > 1:
        number /= 1000
        units.pop(0)
    return f"{number:,.1f} {units[0]}"
