"""Declares what a pod counts, and every structured log event. observability/metrics.py exports the counts to Prometheus."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

import structlog

from dedup_service.core.clean_retention import ShortRetention
from dedup_service.core.flow import COPIES, DUPLICATES, READINGS
from dedup_service.core.flow import counter_of as flow_counter
from dedup_service.core.lag_bounds import NO_LAG_MS, LagBounds, bounds_of, joined
from dedup_service.core.limits import HOLD
from dedup_service.core.pod_report import Outage
from dedup_service.core.rebuild_progress import RebuildProgress
from dedup_service.errors import Dependency

LOG_INTERVAL_SECONDS = 30.0
"""An unstable dependency is logged at most this often; the metrics show every change."""
MAX_KNOWN_DEFECTS = 20
MAX_EXAMPLES = 50
CONFLICT, DEAD_LETTER = "conflict", "dead-letter"
"""Kinds of examples."""

log = structlog.get_logger("dedup_service")


class Count(Enum):
    """A counter: its name, its one label (or none), and what it counts."""

    INPUT_EVENTS = ("dedup_input_events", None, "Events received from the input hub, without those delivered again.")
    REDELIVERED = ("dedup_redelivered_events", None, "Finished events that the SDK delivered again; skipped.")
    COPIES = ("dedup_copies", "replica", "Copies of readings received.")
    WINNERS = ("dedup_winners", "replica", "Copies that were first and got published.")
    DUPLICATES = ("dedup_duplicates", "replica", "Copies of a reading that another copy had won.")
    CONFLICTS = ("dedup_conflicts", "replica", "Duplicates whose content differs from the winner's.")
    TIMES_UNREADABLE = (
        "dedup_times_unreadable",
        "group",
        "Copies whose time is not RFC 3339: they are never judged late, and are published all the same.",
    )
    REPLAYS = ("dedup_replays", None, "Copies found published already after a restart or takeover.")
    IN_DOUBT = (
        "dedup_in_doubt_resolved",
        "outcome",
        "Copies in doubt after a takeover or an ambiguous send: found in the clean stream, or not there and published.",
    )
    LEASES_LOST = ("dedup_leases_lost", None, "Partitions whose lease another pod had taken, or Redis had forgotten.")
    GIVEN_UP = (
        "dedup_partitions_given_up",
        None,
        "Partitions that this pod gave up, because it made no progress there and other pods did.",
    )
    BEYOND_LIMITS = (
        "dedup_beyond_limits",
        "replica",
        "Readings beyond what one replica may send: held back, or dead-lettered, as DEDUP_BEYOND_LIMITS says.",
    )
    IGNORED = ("dedup_ignored_events", "reason", "Events that are not telemetry of this deployment.")
    NOT_READINGS = ("dedup_not_readings", "what", "Parts of events that are no readings, such as metadata and keep-alives.")
    DEAD_LETTERED = ("dedup_dead_lettered", "reason", "Readings sent to the dead-letter hub, or discarded by setting.")
    CLEAN_EVENTS = ("dedup_clean_events", None, "Events published to the clean hub.")
    CLEAN_READINGS = ("dedup_clean_readings", None, "Readings published to the clean hub.")
    CLAIMS_LOST = ("dedup_claims_lost", None, "Claims that another origin held when they were to be confirmed.")
    FAILURES = ("dedup_failures", "dependency", "Operations that failed because a dependency was unavailable.")
    TAKEOVERS = ("dedup_takeovers", None, "Partitions that this pod took over.")
    WORKER_FAILURES = ("dedup_worker_failures", None, "Unexpected errors in a partition's worker; a defect.")
    BEYOND_RETENTION = (
        "dedup_retention_disproved",
        "input",
        "Times that an input delivered an event older than its retention as it is set (DEDUP_INPUT_RETENTION_SECONDS).",
    )
    UNREADABLE = ("dedup_redis_unreadable", None, "Times that a key in Redis was unreadable, and counted as forgotten.")
    FORGOTTEN = ("dedup_redis_forgot", None, "Times that Redis had forgotten claims: a server without them answered.")
    RESTORED = ("dedup_claims_restored", None, "Claims that this pod wrote again from the clean stream.")
    NOT_RESTORED = ("dedup_not_restored", None, "Clean events whose readings could not be told when claims were restored.")
    CLEAN_EXPIRED = (
        "dedup_clean_stream_expired",
        None,
        "Times that a part of the window was no longer in the clean hub when claims were restored.",
    )
    HUB_RECREATED = ("dedup_hub_recreated", None, "Times the input hub turned out to be a new one of the same name.")


@dataclass(slots=True)
class PartitionFigures:
    """An owned partition. `sequence_number` is -1 while nothing is finished."""

    sequence_number: int = -1
    enqueued_ms: int = 0
    """Everything that was enqueued up to then is finished."""
    last_enqueued_ms: int = 0
    """When the newest event that is known to be in the hub was enqueued."""
    oldest_ms: int = 0
    """Age of the oldest event that was received, when it was received."""
    stalled_since_ms: int = 0
    """Since when the worker can't get on, so that the partition may hold anything by now; 0 while it does."""

    def saw_end(self, last_enqueued_ms: int, *, is_behind: bool) -> None:
        """What the hub says of its end. While events wait whose times are not known, the newest one's age is the least that
        the lag can be."""
        self.last_enqueued_ms = max(self.last_enqueued_ms, last_enqueued_ms)
        if not is_behind:
            self.enqueued_ms = max(self.enqueued_ms, self.last_enqueued_ms)
        elif not self.enqueued_ms:  # a checkpoint holds no time
            self.enqueued_ms = self.last_enqueued_ms - 1


@dataclass(frozen=True, slots=True)
class Pause:
    problem: str
    since: float
    """Monotonic seconds."""
    logged: bool
    since_ms: int
    """By this pod's clock, since the epoch."""


class Waits(StrEnum):
    """Pods that go first, so that this one leaves all partitions to them."""

    PUBLISHING = "pods that publish what they read with this consumer group, while this one only observes"
    CONFIGURATION = "pods of this deployment that have other inputs, or observe other groups"


@dataclass(slots=True)
class Telemetry:
    counts: dict[Count, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    recognised: Counter[str] = field(default_factory=Counter)
    """Events without a key by what they seem to be; see core/unknown_formats.py."""
    flow: Counter[str] = field(default_factory=Counter)
    """What was finished, by group and kind; see core/flow.py."""
    partitions: dict[str, PartitionFigures] = field(default_factory=dict)
    elsewhere: LagBounds | None = None
    """Of the partitions of all pods, as those last reported them; None while nothing is known of any."""
    paused: dict[Dependency, Pause] = field(default_factory=dict)
    """The dependencies that are unavailable."""
    outages: dict[str, Outage] = field(default_factory=dict)
    """The last outage of each dependency that was unavailable and is available again."""
    rebuild: RebuildProgress | None = None
    waits_for: Waits | None = None
    """How far the claims are read back that Redis lacks; None while it lacks none."""
    logged_at: dict[str, float] = field(default_factory=dict)
    known_defects: set[str] = field(default_factory=set)
    examples: dict[str, deque[dict[str, Any]]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=MAX_EXAMPLES))
    )
    """Recent examples of what is counted, by kind; never a payload."""
    started_ms: int = field(default_factory=lambda: wall_clock_ms())

    def add(self, count: Count, number: int = 1, label: str = "") -> None:
        if number:
            self.counts[count][label] += number

    def finished(self, group: str, *, copies: int, readings: int, duplicates: int) -> None:
        for kind, number in ((COPIES, copies), (READINGS, readings), (DUPLICATES, duplicates)):
            if number:
                self.flow[flow_counter(group, kind)] += number

    def total(self, count: Count) -> int:
        return sum(self.counts[count].values())

    def add_example(self, kind: str, **example: Any) -> None:
        self.examples[kind].append(example)

    def take_examples(self, at_most: int) -> dict[str, list[dict[str, Any]]]:
        """The newest ones since the last call."""
        taken = {kind: list(examples)[-at_most:] for kind, examples in self.examples.items() if examples}
        self.examples.clear()
        return taken

    # --- log events: changes of state only, the rest is counted

    def failed(self, dependency: Dependency) -> None:
        """Only counts: another caller that needs the dependency reports it as unavailable."""
        self.add(Count.FAILURES, label=str(dependency))

    def unavailable(self, dependency: Dependency, problem: str) -> None:
        self.failed(dependency)
        if dependency in self.paused:
            return
        now = time.monotonic()
        is_quiet = now - self.logged_at.get(str(dependency), float("-inf")) < LOG_INTERVAL_SECONDS
        if not is_quiet:
            self.logged_at[str(dependency)] = now
            log.warning(
                "dependency_unavailable", dependency=str(dependency), problem=problem, effect="paused, nothing is lost"
            )
        self.paused[dependency] = Pause(problem, now, not is_quiet, wall_clock_ms())

    def available(self, dependency: Dependency) -> None:
        pause = self.paused.pop(dependency, None)
        if pause is not None:
            self.outages[str(dependency)] = Outage(pause.problem, pause.since_ms, wall_clock_ms())
        if pause is not None and pause.logged and str(dependency) not in map(str, self.paused):
            log.info("dependency_available", dependency=str(dependency))

    def forget(self, dependency: Dependency) -> None:
        """The caller that waited for it has stopped; whether it is available is no longer known."""
        self.paused.pop(dependency, None)

    def partition_taken(self, partition_id: str, start: object, epoch: int) -> None:
        self.add(Count.TAKEOVERS)
        log.info("partition_taken", partition=partition_id, start=str(start), epoch=epoch)

    def partition_left(self, partition_id: str, reason: str) -> None:
        self.partitions.pop(partition_id, None)
        log.info("partition_left", partition=partition_id, reason=reason)

    def partitions_added(self, name: str, partition_ids: Sequence[str]) -> None:
        log.info("partitions_added", input=name, partitions=list(partition_ids), effect="read from their beginning")

    def unreadable(self, key: str) -> None:
        """Reports a key of Redis. One line is logged in each interval; all are counted."""
        self.add(Count.UNREADABLE)
        if self._is_due("unreadable"):
            log.error("redis_unreadable", key=key, effect="counts as forgotten; does anything else write to this namespace?")

    def takes_no_part(self, seconds: float) -> None:
        log.warning(
            "pod_takes_no_part",
            problem="no partition of this pod makes progress, although other pods do",
            effect=f"its partitions go to the others; it comes back after {seconds:.0f} s, once it reaches the hubs",
        )

    def waits_for_others(self, others: Waits | None) -> None:
        """Logs it once, whatever the number of inputs."""
        if others is self.waits_for:
            return
        self.waits_for = others
        if others is None:
            log.info("works_again", effect="the pods that went first are gone, and this one takes partitions")
        else:
            log.info("waits_for_others", others=str(others), effect="this pod takes no partition until they are gone")

    def takes_part_again(self) -> None:
        log.info("pod_takes_part")

    def hub_recreated(self, partition_id: str, detail: str) -> None:
        self.add(Count.HUB_RECREATED)
        log.error(
            "input_hub_recreated",
            partition=partition_id,
            detail=detail,
            effect="a new hub is read from its beginning, the same hub on from the last finished time",
        )

    def retention_disproved(self, name: str, configured_ms: int, age_ms: int) -> None:
        self.add(Count.BEYOND_RETENTION, label=name)
        log.warning(
            "retention_disproved",
            input=name,
            setting="DEDUP_INPUT_RETENTION_SECONDS",
            configured_seconds=configured_ms // 1000,
            event_age_seconds=age_ms // 1000,
            effect="claims of older events live for 15 minutes; set it to the hub's retention, or check the clock",
        )

    def beyond_limits(self, group: str, replica: str, policy: str) -> None:
        """One line is logged in each interval; all are counted."""
        if self._is_due("beyond_limits"):
            held = "its partition is read at the limit's rate, and what is behind waits"
            log.warning(
                "beyond_limits",
                group=group,
                replica=replica,
                setting="DEDUP_MAX_READINGS_PER_SECOND, DEDUP_MAX_READINGS_IN_WINDOW",
                effect=held if policy == HOLD else "its readings beyond them go to the dead letters",
            )

    def redis_forgot(self, shards: Sequence[int], *, rebuilds: bool) -> None:
        self.add(Count.FORGOTTEN, len(shards))
        effect = (
            "paused until they are read back from the clean stream" if rebuilds else "copies of what it forgot come again"
        )
        log.warning("redis_forgot", shards=list(shards), problem="a server without this deployment's claims", effect=effect)

    def rebuild_goes_on(self, progress: RebuildProgress, seconds: float) -> None:
        left = None if progress.seconds_left is None else round(progress.seconds_left)
        log.info("rebuilding_claims", percent=int(progress.share * 100), seconds=round(seconds, 1), seconds_left=left)

    def claims_ready(self, seconds: float) -> None:
        log.info("claims_ready", seconds=round(seconds, 1), effect="live data goes on; older copies wait for the rest")

    def claims_rebuilt(self, seconds: float) -> None:
        log.info("claims_rebuilt", seconds=round(seconds, 1), restored=self.total(Count.RESTORED))

    def not_restored(self, partition_id: str, sequence_number: int, problem: str) -> None:
        """One line is logged in each interval; all are counted."""
        self.add(Count.NOT_RESTORED)
        if self._is_due("not_restored"):
            log.warning(
                "not_restored",
                clean_partition=partition_id,
                sequence_number=sequence_number,
                problem=problem,
                effect="copies of its readings that come again are published again",
            )

    def clean_stream_expired(self, partition_id: str, missing_ms: int) -> None:
        self.add(Count.CLEAN_EXPIRED)
        if self._is_due("clean_stream_expired"):
            log.warning(
                "clean_stream_expired",
                clean_partition=partition_id,
                missing_seconds=missing_ms // 1000,
                effect="the clean hub keeps less than the window: copies of what it dropped are published again",
            )

    def clean_retention_short(self, short: ShortRetention) -> None:
        log.warning(
            "clean_retention_short",
            hub=short.hub,
            kept_seconds=short.kept_ms // 1000,
            window_seconds=short.window_ms // 1000,
            effect=short.effect,
        )

    def _is_due(self, line: str) -> bool:
        now = time.monotonic()
        if now - self.logged_at.get(line, float("-inf")) < LOG_INTERVAL_SECONDS:
            return False
        self.logged_at[line] = now
        return True

    def lag_spread_ms(self, now_ms: int) -> int:
        """How far the slowest partition of all pods is behind the fastest one. Copies of a reading are that much further
        apart in processing time than the window allows for. What the pods reported is seconds old: for so long, the spread
        may be larger than it is, but never smaller."""
        own = bounds_of(lags_since_ms(figures) for figures in self.partitions.values() if figures.enqueued_ms)
        everywhere = joined(own, self.elsewhere)
        return 0 if everywhere is None else everywhere.spread_ms(now_ms)

    def worker_failed(self, partition_id: str, error: Exception) -> None:
        """Logs the traceback of each kind once, because a defect that every event triggers must not fill the disk."""
        self.add(Count.WORKER_FAILURES)
        kind = f"{type(error).__name__}: {error}"[:200]
        if kind not in self.known_defects and len(self.known_defects) < MAX_KNOWN_DEFECTS:
            self.known_defects.add(kind)
            log.error("worker_failed", partition=partition_id, effect="please report this", exc_info=error)

    def dead_letter_truncated(self, origin: str, size: int) -> None:
        log.error("dead_letter_truncated", origin=origin, body_bytes=size, effect="only the start of the body is kept")


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


def lags_since_ms(figures: PartitionFigures) -> int:
    """The moment since which the time is the partition's lag; NO_LAG_MS once everything that was enqueued is finished."""
    behind_ms = figures.enqueued_ms if figures.enqueued_ms < figures.last_enqueued_ms else NO_LAG_MS
    return min(behind_ms, figures.stalled_since_ms or NO_LAG_MS)


def lag_ms(figures: PartitionFigures, now_ms: int) -> int:
    """0 once everything that was enqueued is finished. Where nothing is known, because the hub can't be read, it is the time
    since then."""
    return max(0, now_ms - lags_since_ms(figures))


def lag_seconds(figures: PartitionFigures, now_ms: int) -> float:
    return lag_ms(figures, now_ms) / 1000


def configure_logging(log_format: str) -> None:
    """Logs one line per event to stderr: `json` for machines, `console` for people. Libraries log only warnings."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info if log_format == "json" else structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderer = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for library in ("azure", "uvicorn", "asyncio", "redis"):
        logging.getLogger(library).setLevel(logging.WARNING)
    # The SDK warns at every attempt to reconnect; this service logs changes of state and counts the rest.
    logging.getLogger("azure.eventhub").setLevel(logging.ERROR)
