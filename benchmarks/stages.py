"""What each stage of a copy's way costs the service: the real code over recorded frames, without sockets, and with a claim
store that encodes every call as the real one does and answers from memory."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from azure.eventhub._pyamqp._encode import encode_frame
from azure.eventhub._pyamqp.performatives import TransferFrame

from benchmarks.events import Load, input_log
from benchmarks.results import Section
from dedup_service.adapters.eventhubs.below_sdk.frames import Link
from dedup_service.adapters.eventhubs.below_sdk.native import CODEC, PYTHON
from dedup_service.adapters.redis.claim_records import ClaimEncoder
from dedup_service.adapters.redis.sharding import by_shard
from dedup_service.bootstrap import SystemClock
from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import key_digests, new_claims
from dedup_service.core.clean_events import CleanEvent
from dedup_service.core.events import InputEvent, Origin
from dedup_service.core.extract import CloudEventsExtractor
from dedup_service.core.groups import Group, Groups
from dedup_service.core.incarnations import Incarnations
from dedup_service.core.input_log import InputLog
from dedup_service.core.leases import NewestSample
from dedup_service.core.limits import Limits, SentReadings
from dedup_service.core.markers import Memory
from dedup_service.core.outgoing import OutputPolicy
from dedup_service.core.retention import Retention
from dedup_service.processing.admission import Admission
from dedup_service.processing.claiming import Claimer
from dedup_service.processing.counting import count_finished
from dedup_service.processing.event_work import EventWork
from dedup_service.processing.sending import clean_events_of
from dedup_service.processing.shared import Shared, SharedPorts
from dedup_service.telemetry import PartitionFigures, Telemetry
from dedup_service.waiting import Activity, Retrier, Stop

EVENTS, WINDOW_MS, RETENTION_MS = 900, 14_400_000, 86_400_000
PASSES = 100
"""Through all stages. The best timing of each counts: everything else that runs only adds to it."""
WINNERS = 1 / 3
"""Share of the copies that are published and confirmed."""
NOT_IN_DOUBT = -1
LINK = Link(0, 1)
OTHER = Origin(1, 7, 7, 0)
"""The winner of those copies that are duplicates."""


@dataclass(slots=True)
class Answers:
    """A claim store in which every key is free, or is held by another copy with the same content."""

    are_free: bool = True
    held: dict[int, list[bytes]] = field(default_factory=dict)
    """By the identity of an event's readings."""

    async def replica_number(self, group: str, replica: str) -> int:
        return 0

    async def claim(self, requests: Sequence[ClaimRequest], live: Sequence[int]) -> list[bytes | None]:
        for part in by_shard(requests, 1):
            records_of(part.pieces)
        if self.are_free:
            return [None for request in requests for _ in request.keys]
        return [claim for request in requests for claim in self.held[id(request.readings)]]

    async def confirm(self, requests: Sequence[ClaimRequest], ttl_ms: int) -> int:
        for part in by_shard(requests, 1):
            b"".join([claim for request, readings, _ in part.pieces for claim in request.claims_of(readings)])
        return 0


def records_of(pieces: Any) -> tuple[bytes, bytes]:
    encoder = ClaimEncoder(pieces)
    return encoder.records, encoder.names("bench{0}")


class Stages:
    def __init__(self, batch: int) -> None:
        log = input_log(Load(EVENTS * batch, replicas=1, partitions=1, batch=batch))["0"]
        self.messages = [entry.message for entry in log]
        self.frames = b"".join(map(frame_of, self.messages))
        self.copies = EVENTS * batch
        self.store, self.telemetry, clock = Answers(), Telemetry(), SystemClock()
        output = OutputPolicy(["0", "1", "2", "3"], "source", "default")
        group = Group(name="default", window_ms=WINDOW_MS, mode="drop", output=output)
        self.admission = Admission(Groups([group]), CloudEventsExtractor(2**20), "ignore")
        self.limits = Limits(per_second=1e9, in_window=10**12, beyond="hold")
        ports: Any = SharedPorts(self.store, None, None, None, clock, self.telemetry)  # type: ignore[arg-type]  # it claims only
        shared = Shared(
            ports, self.admission, output, [], Incarnations(["default"]), NewestSample(), [], Memory(), self.limits
        )
        retrier = Retrier(clock, self.telemetry, Stop(clock), Activity(clock, PartitionFigures()))
        self.claimer = Claimer(shared, retrier, Retention(RETENTION_MS))
        self.log = InputLog.of(1, "0")

    def admitted(self, events: Sequence[InputEvent]) -> list[EventWork]:
        sent, work = SentReadings(self.limits), [self.admission.admit(event, self.log) for event in events]
        for item in work:
            event, readings = item.event, len(item.extraction.readings)
            sent.add(item.replica, event.sequence_number, event.enqueued_ms, readings, WINDOW_MS)
        return work

    async def measure(self) -> dict[str, float]:
        """CPU µs for each copy, by stage: one pass after another, so that a slow phase of the machine hits all stages."""
        clock = Stopwatch(self.copies)
        for _ in range(PASSES):
            await self._pass(clock)
        return clock.best

    async def _pass(self, clock: Stopwatch) -> None:
        sizes = [(message, 0, len(message)) for message in self.messages]
        events = clock.time("decoding in Python", lambda: [PYTHON.decode("0", *place) for place in sizes])
        clock.time("frames and decoding in Python", lambda: PYTHON.events("0", self.frames, 0, 10**9, 10**9, *LINK))
        clock.time("frames and decoding", lambda: events_of(self.frames))
        work = clock.time("extraction", lambda: self.admitted(events))
        readings = [item.extraction.readings for item in work]
        keys = clock.time("keys", lambda: [key_digests("default", own) for own in readings])
        self.store.are_free = True
        await clock.await_for("claiming, free", lambda: self.claimer.claim(work, NOT_IN_DOUBT), WINNERS)
        pieces = [(item.request, own, key) for item, own, key in zip(work, readings, keys, strict=True)]
        clock.time("records", lambda: records_of(pieces))
        await clock.await_for("confirming", lambda: self.claimer.confirm(work), WINNERS)
        clean = clock.time("clean events", lambda: clean_events_in(work), WINNERS)
        clock.time("encoding in Python", lambda: [PYTHON.encode(item.event) for item in clean], WINNERS)
        clock.time("encoding", lambda: [CODEC.encode(item.event) for item in clean], WINNERS)
        clock.time("counting", lambda: count_finished(work, self.telemetry))
        self.store.are_free = False
        self.store.held = {id(own): new_claims(OTHER, own, 1, 1) for own in readings}
        await clock.await_for("claiming, held", lambda: self.claimer.claim(work, NOT_IN_DOUBT), 1 - WINNERS)


def frame_of(message: bytes) -> bytes:
    head, body = encode_frame(TransferFrame(LINK.handle, 1, b"tag", 0, True, False, payload=message))
    return head + LINK.channel.to_bytes(2, "big") + bytes(body or b"")


def events_of(frames: bytes) -> list[InputEvent]:
    found, at = CODEC.events("0", frames, 0, 10**9, 10**9, *LINK)
    if at < len(frames):
        found += PYTHON.events("0", frames, at, 10**9, 10**9, *LINK)[0]
    return found


def clean_events_in(work: Sequence[EventWork]) -> list[CleanEvent]:
    return [clean for item in work for clean in clean_events_of(item, None)]


async def stages(_: int) -> Section:
    section = Section(
        "Stages of a copy's way, CPU µs of the service",
        f"The codec is {'in C' if CODEC.is_native else 'in Python'}. Best of {PASSES} timings of each stage.",
        ["", "single readings", "batches of 20"],
    )
    rows = [rows_of(await Stages(batch).measure()) for batch in (1, 20)]
    section.rows = [[name, took, rows[1][name]] for name, took in rows[0].items()]
    return section


def rows_of(took: dict[str, float]) -> dict[str, float]:
    claiming = took["claiming, free"] + took["claiming, held"]
    rows = {
        "receiving: frames and decoding": took["frames and decoding"],
        "... in Python": took["frames and decoding in Python"],
        "... decoding alone, in Python": took["decoding in Python"],
        "extraction: readings, content hashes; admission, limits": took["extraction"],
        "claims: keys' digests": took["keys"],
        "claims: encoding the call's records": took["records"],
        "claims: requests, packing, verdicts": claiming - took["keys"] - took["records"],
        "clean events (a third of the copies)": took["clean events"],
        "clean events: their encoding": took["encoding"],
        "... their encoding in Python": took["encoding in Python"],
        "confirming": took["confirming"],
        "counting": took["counting"],
    }
    together = sum(cost for name, cost in rows.items() if not name.startswith("..."))
    return {**rows, "together": together}


class Stopwatch:
    def __init__(self, copies: int) -> None:
        self._copies = copies
        self.best: dict[str, float] = {}

    def time(self, stage: str, run: Callable[[], Any], share: float = 1.0) -> Any:
        before = time.process_time()
        result = run()
        self._took(stage, (time.process_time() - before) * share)
        return result

    async def await_for(self, stage: str, run: Callable[[], Awaitable[None]], share: float = 1.0) -> None:
        before = time.process_time()
        await run()
        self._took(stage, (time.process_time() - before) * share)

    def _took(self, stage: str, seconds: float) -> None:
        self.best[stage] = min(self.best.get(stage, float("inf")), seconds / self._copies * 1e6)
