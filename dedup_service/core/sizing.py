"""How large a deployment must be for a given load, calculated from measured costs (docs/performance.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dedup_service.core.hub_tiers import MAX_IOT_HUB_PARTITIONS, TIERS, Tier, least_tier
from dedup_service.core.overview import BYTES_PER_CLAIM

# CPU time on one core of the machine that docs/performance.md describes.
EVENT_US, COPY_US, KILOBYTE_US = 34.0, 6.5, 5.5
"""Service: for each event received, for each copy in it, and for each kilobyte of it."""
REDIS_COPY_US = 10.0
"""Redis: for claiming a copy with accounting, and for its share of confirming."""
MAX_UTILIZATION = 0.7
"""Share of a core that may be used, so that bursts do not queue."""

OVERVIEW_SECONDS, OVERVIEW_COMMANDS_OF_GROUP = 1.0, 43
"""Redis, without any reading: how often the overview is made at most, and what it reads of each group."""

BACKLOG_RATE, BACKLOG_SHARE = 20, 2
"""How many times its average a replica may send for a minute after its uplink was down, and within a window."""

SINGLE_OVERHEAD_BYTES, BATCHED_OVERHEAD_BYTES = 400, 230
"""Size of a reading's CloudEvents attributes: as properties of a message, and in a batch."""
IOT_HUB_METER_BYTES = 4096
MAX_MESSAGE_BYTES = 256 * 1024
HOUR_SECONDS, DAY_SECONDS = 3600, 86_400
CHECKPOINT_SECONDS = 10
"""The default of DEDUP_CHECKPOINT_INTERVAL_SECONDS."""
MIN_PODS, MIN_PARTITIONS = 2, 4
TU_INGRESS_BYTES, TU_INGRESS_EVENTS = 1_000_000, 1000
TU_EGRESS_BYTES, TU_EGRESS_EVENTS = 2_000_000, 4096
"""What an Event Hubs throughput unit allows in a second."""


@dataclass(frozen=True, slots=True)
class PlannedLoad:
    readings_per_second: float
    replicas: int = 3
    batch: int = 1
    """Readings in one event."""
    body_bytes: int = 100
    """Size of a reading's data."""
    window_seconds: int = 14_400
    output_partitions: int = 4
    headroom: float = 2.0
    """Capacity over load: at 2 a backlog shrinks as fast as it grew, at 1 not at all."""

    @property
    def copies_per_second(self) -> float:
        return self.readings_per_second * self.replicas

    @property
    def events_per_second(self) -> float:
        return self.copies_per_second / self.batch

    @property
    def event_bytes(self) -> int:
        overhead = SINGLE_OVERHEAD_BYTES if self.batch == 1 else BATCHED_OVERHEAD_BYTES
        return self.batch * (self.body_bytes + overhead)


@dataclass(frozen=True, slots=True)
class Plan:
    cores: float
    """What the service uses at this load."""
    pods: int
    """Each with one core."""
    partitions: int
    """The least number for the input hub."""
    redis_bytes: int
    redis_cores: float
    idle_commands_per_second: float
    """What the pods ask Redis for without any reading; most of it within scripts."""
    checkpoints_per_hour: float
    """Blob writes, at most: of partitions that are never idle."""
    replica_readings_per_second: int
    """A limit for one replica (DEDUP_MAX_READINGS_PER_SECOND): it sends a backlog as fast as it can."""
    replica_readings_in_window: int
    """The same for a window (DEDUP_MAX_READINGS_IN_WINDOW)."""
    claims_per_second: float
    confirms_per_second: float
    metered_messages_per_day: float
    iot_hub_units: dict[str, int]
    """By tier; tiers that can't carry the load are missing."""
    clean_events_per_second: float
    clean_throughput_units: int
    input_connections: int
    clean_connections: int
    """At most, while every pod writes to every partition."""
    warnings: tuple[str, ...]


def plan(load: PlannedLoad) -> Plan:
    cores = load.copies_per_second * copy_us(load) / 1e6
    pods = max(MIN_PODS, math.ceil(cores * load.headroom / MAX_UTILIZATION))
    redis_cores = load.copies_per_second * REDIS_COPY_US / 1e6
    units = {tier.name: needed for tier in TIERS if (needed := _units(tier, load)) <= tier.max_units}
    clean_events = load.readings_per_second / load.batch * min(load.batch, load.output_partitions)
    return Plan(
        cores=cores,
        pods=pods,
        partitions=max(MIN_PARTITIONS, pods),
        redis_bytes=math.ceil(load.readings_per_second * load.window_seconds * BYTES_PER_CLAIM),
        redis_cores=redis_cores,
        replica_readings_per_second=math.ceil(load.readings_per_second * BACKLOG_RATE),
        replica_readings_in_window=math.ceil(load.readings_per_second * load.window_seconds * BACKLOG_SHARE),
        idle_commands_per_second=idle_commands(pods, max(MIN_PARTITIONS, pods), groups=1, replicas=load.replicas),
        checkpoints_per_hour=HOUR_SECONDS / CHECKPOINT_SECONDS * max(MIN_PARTITIONS, pods),
        claims_per_second=load.copies_per_second,
        confirms_per_second=load.readings_per_second,
        metered_messages_per_day=_metered(load) * DAY_SECONDS,
        iot_hub_units=units,
        clean_events_per_second=clean_events,
        clean_throughput_units=_throughput_units(clean_events, load.readings_per_second * load.event_bytes / load.batch),
        input_connections=max(MIN_PARTITIONS, pods),
        clean_connections=clean_connections(pods, load.output_partitions),
        warnings=tuple(_warnings(load, pods, redis_cores, units)),
    )


def clean_connections(pods: int, output_partitions: int) -> int:
    """One of each pod to each partition; another one to the input hub for each of its partitions. Questions have connections
    of their own, for a moment."""
    return pods * output_partitions


def idle_commands(pods: int, partitions: int, *, groups: int, replicas: int) -> float:
    """Commands in a second that all pods cause on Redis while nothing is sent, with those of scripts, as `make scale` counts
    them. Twice a second each pod renews its leases, which looks at those of all partitions; it reports once, and makes or
    reads the overview and the roll call every 3 s."""
    renewals = 2 * pods * (11 + partitions + 1) + 2 * 2 * partitions
    reports, pings = (6 + replicas) * pods, pods
    reading = pods / 3 * (3 + 3) + 2 / 3
    making = min(1 / OVERVIEW_SECONDS, pods / 3) * (OVERVIEW_COMMANDS_OF_GROUP * groups + 4 + 2)
    return renewals + reports + pings + reading + making


def copy_us(load: PlannedLoad) -> float:
    """CPU time of the service for one copy, in µs."""
    return EVENT_US / load.batch + COPY_US + KILOBYTE_US * load.event_bytes / load.batch / 1000


def _metered(load: PlannedLoad) -> float:
    """IoT Hub counts every 4 KB of an event as a message."""
    return load.events_per_second * math.ceil(load.event_bytes / IOT_HUB_METER_BYTES)


def _units(tier: Tier, load: PlannedLoad) -> int:
    by_quota = math.ceil(_metered(load) * DAY_SECONDS / tier.messages_per_day)
    is_free = load.events_per_second <= tier.free_sends_per_second
    return max(1, by_quota, 0 if is_free else math.ceil(load.events_per_second / tier.sends_per_second))


def _throughput_units(events: float, size: float) -> int:
    """For a hub that is written once and read once."""
    shares = (size / TU_INGRESS_BYTES, events / TU_INGRESS_EVENTS, size / TU_EGRESS_BYTES, events / TU_EGRESS_EVENTS)
    return max(1, math.ceil(max(shares)))


def _warnings(load: PlannedLoad, pods: int, redis_cores: float, units: dict[str, int]) -> list[str]:
    warnings = []
    if load.event_bytes > MAX_MESSAGE_BYTES:
        warnings.append(
            f"an event of {load.event_bytes:,} bytes is more than IoT Hub accepts ({MAX_MESSAGE_BYTES:,}): batch less"
        )
    if not units:
        warnings.append("one IoT Hub can't carry this load: batch more, or split the replicas over several hubs")
    if pods > MAX_IOT_HUB_PARTITIONS:
        warnings.append(f"{pods} pods need more partitions than an IoT Hub has ({MAX_IOT_HUB_PARTITIONS}): use more inputs")
    connections = clean_connections(pods, load.output_partitions)
    if (tier := least_tier(connections, load.output_partitions)) is None:
        warnings.append(f"no hub has {load.output_partitions} partitions: use several clean hubs (docs/groups.md)")
    elif tier.has_units:
        units_of_it = f"{tier.units(connections)} unit{'s' if tier.units(connections) > 1 else ''}"
        warnings.append(
            f"{load.output_partitions} clean partitions and {connections:,} connections need Event Hubs {tier.name}, "
            f"{units_of_it}: use fewer clean partitions, or several clean hubs in different namespaces"
        )
    if redis_cores > MAX_UTILIZATION:
        warnings.append("one Redis server can't carry this load: use a cluster (DEDUP_REDIS_CLUSTER=true)")
    if load.batch == 1 and load.event_bytes * 2 <= IOT_HUB_METER_BYTES:
        fitting = IOT_HUB_METER_BYTES // (load.body_bytes + BATCHED_OVERHEAD_BYTES)
        warnings.append(
            f"{fitting} readings fit into the 4 KB that IoT Hub meters as one message: batching divides its price by that"
        )
    return warnings
