"""Ways to get the protocol wrong, each as a patch of the real code: the simulation must catch every one."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from dedup_service import waiting
from dedup_service.adapters.redis.marked import Generations
from dedup_service.core import claims
from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import Claim, Verdict
from dedup_service.core.events import Reading
from dedup_service.core.input_log import InputLog
from dedup_service.core.leases import EndOffsets, Lease, LeaseRecord, Renewal, TakeoverState
from dedup_service.core.limits import Limits, SentReadings
from dedup_service.core.markers import Memory, Part, ReadBack
from dedup_service.core.outgoing import INDEXES_PROPERTY, ORIGIN_PROPERTY, OutgoingEvent
from dedup_service.core.progress import Position, Progress
from dedup_service.core.retention import Retention
from dedup_service.errors import UnavailableError
from dedup_service.partitions import takeover
from dedup_service.partitions.giving_up import GivingUp
from dedup_service.partitions.takeover import Takeover
from dedup_service.partitions.worker import PartitionWorker
from dedup_service.ports.hubs import PartitionState
from dedup_service.processing import claiming, limiting, resolving, sending
from dedup_service.processing.admission import Admission
from dedup_service.processing.beginning import Beginning
from dedup_service.processing.claiming import Claimer
from dedup_service.processing.event_work import EventWork
from dedup_service.processing.limiting import Limiter
from dedup_service.processing.pipeline import Pipeline
from dedup_service.processing.resolving import Published, Resolver
from dedup_service.rebuild.rebuilder import Rebuilder
from dedup_service.waiting import Retrier
from tests.doubles.ledger import MemoryLedger
from tests.doubles.markers import MemoryMarkers, MemoryServer
from tests.doubles.memory import MemoryAtWork, MemoryClaims
from tests.simulation import ports
from tests.simulation.ports import SimulatedLeases, SimulatedPublisher
from tests.support.shared import CLEAN_HUB_READING

Patch = pytest.MonkeyPatch
Mutant = Callable[[Patch], None]


def naive(patch: Patch) -> None:
    """Like SET NX: a copy that finds a claim, even its own, is a duplicate."""

    def judge(event: bytes, reading: Reading, held: bytes | None, *, in_doubt: bool) -> Verdict:
        return Verdict.WINNER if held is None else Verdict.DUPLICATE

    patch.setattr(claiming, "judge", judge)


def checkpoint_first(patch: Patch) -> None:
    """Record and checkpoint pass a batch before it is published."""
    publish = Pipeline._publish

    async def early(self: Pipeline, work: list[EventWork]) -> None:
        last = work[-1].event
        position = Position(last.sequence_number, last.offset, last.enqueued_ms)
        self._lease.record = LeaseRecord(position, self._resolver.sample, self.incarnation, self._resolver.rule)
        await publish(self, work)

    patch.setattr(Pipeline, "_publish", early)


def no_tail(patch: Patch) -> None:
    """Copies in doubt are published without asking the clean stream."""

    async def nothing(*_: Any) -> Published:
        return Published(frozenset())

    patch.setattr(Resolver, "_since", nothing)


def sample_late(patch: Patch) -> None:
    """The newest sample is written with an old position, although events after that position were already sent."""
    renew = SimulatedLeases.renew

    async def late(self: SimulatedLeases, pod_id: str, held: list[Lease], *presence: Any) -> Any:
        ends = await self.process.world.clean.ends()
        for lease in held:
            if lease.record is not None:
                lease.record = replace(lease.record, sample=ends)
        return await renew(self, pod_id, held, *presence)

    patch.setattr(SimulatedLeases, "renew", late)


def sample_not_inherited(patch: Patch) -> None:
    """The record takes the newest sample even below the horizon."""

    def finish_with_newest(self: Resolver, _: Any, newest: EndOffsets) -> None:
        self.sample = newest or self.sample

    patch.setattr(Resolver, "finish", finish_with_newest)


def tail_by_mark(patch: Patch) -> None:
    """In mode mark, a duplicate in the clean stream is taken as proof that its key was published."""

    async def resolve_by_key(self: Resolver, work: list[EventWork]) -> None:
        for item in work:
            for place, (reading, verdict) in enumerate(zip(item.extraction.readings, item.verdicts, strict=True)):
                if verdict is Verdict.IN_DOUBT:
                    is_found = any(_has_key(event, reading) for event in clean_stream(self))
                    item.verdicts[place] = Verdict.FOUND if is_found else Verdict.WINNER

    patch.setattr(Resolver, "resolve", resolve_by_key)


def _has_key(event: OutgoingEvent, reading: Reading) -> bool:
    return reading.id in str(event.body) or event.properties.get("cloudEvents_id") == reading.id


def clean_stream(resolver: Resolver) -> list[OutgoingEvent]:
    """The whole clean stream, which only a test can see."""
    tail: Any = resolver._tail
    return [event for log in tail.hub.partitions.values() for event in log]


def no_fence(patch: Patch) -> None:
    """The lease is not checked before sending."""
    patch.setattr(Lease, "require", lambda *_: None)


def blind_retry(patch: Patch) -> None:
    """An ambiguous send is simply repeated."""
    run = Retrier.run

    async def repeat(self: Retrier, operation: Any, *, repeat_ambiguous: bool = True) -> Any:
        return await run(self, operation, repeat_ambiguous=True)

    patch.setattr(Retrier, "run", repeat)


def confirm_before_publish(patch: Patch) -> None:
    publish = Pipeline._publish

    async def confirmed_first(self: Pipeline, work: list[EventWork]) -> None:
        await self._claimer.confirm(work)
        await publish(self, work)

    patch.setattr(Pipeline, "_publish", confirmed_first)


def claim_by_a_refused_copy(patch: Patch) -> None:
    """An event that will be ignored claims its keys nevertheless."""
    admit = Admission.admit

    def claiming(self: Admission, event: Any, log: InputLog) -> EventWork:
        work = admit(self, event, log)
        if not work.extraction.readings and not work.dead:
            work.extraction = self.extractor.extract(event)
            work.group = self.groups.groups[0]
        return work

    def nothing_of_it(item: EventWork, forward_to: Any) -> list[Any]:
        is_telemetry = item.event.annotations.get("iothub-message-source") == "Telemetry"
        return clean_events_of(item, forward_to) if is_telemetry else []

    clean_events_of = sending.clean_events_of
    patch.setattr(Admission, "admit", claiming)
    patch.setattr(sending, "clean_events_of", nothing_of_it)


def origin_without_index(patch: Patch) -> None:
    """The clean stream names the event, but not which of its readings were published."""
    original = sending.CleanSender._drop_published

    def by_event(self: Any, queue: Any, published: Published) -> None:
        numbers = {(origin.partition, origin.sequence_number) for origin in published.origins}
        everything = {
            item.origin(reading)
            for item, clean in queue
            for reading in clean.readings
            if (int(item.event.partition_id), item.event.sequence_number) in numbers
        }
        original(self, queue, Published(published.origins | everything))

    async def any_of_it(self: Resolver, doubtful: list[EventWork]) -> list[Published]:
        origins = {event.properties[ORIGIN_PROPERTY] for event in clean_stream(self) if INDEXES_PROPERTY in event.properties}
        return [
            Published(frozenset(item.origin(reading) for reading in item.extraction.readings))
            for item in doubtful
            if item.origin_text in origins
        ]

    patch.setattr(sending.CleanSender, "_drop_published", by_event)
    patch.setattr(Resolver, "_published", any_of_it)


def skip_in_doubt_as_own_call(patch: Patch) -> None:
    """The horizon is forgotten: a predecessor's claim looks like the result of one's own repeated call."""

    def never(event: bytes, reading: Reading, held: bytes | None, *, in_doubt: bool) -> Verdict:
        return claims.judge(event, reading, held, in_doubt=False)

    patch.setattr(claiming, "judge", never)


def no_first_record(patch: Patch) -> None:
    """The first record is not written before the first send, so the next owner has no sample to start from."""

    async def silently(self: SimulatedLeases, lease: Lease, record: LeaseRecord, *, release: bool = False) -> bool:
        return True if not release else await write(self, lease, record, release=True)

    write = SimulatedLeases.write
    patch.setattr(SimulatedLeases, "write", silently)
    begin = Takeover._begin

    async def unrecorded(self: Takeover, *arguments: Any) -> TakeoverState:
        state = await begin(self, *arguments)
        state.lease.record = None
        return state

    patch.setattr(Takeover, "_begin", unrecorded)


def unsent_is_confirmed(patch: Patch) -> None:
    """A pod that stops between two sends confirms everything that it has claimed."""
    confirm = Claimer.confirm

    async def all_of_it(self: Claimer, work: list[EventWork], *, published_only: bool = False) -> None:
        await confirm(self, work, published_only=False)

    patch.setattr(Claimer, "confirm", all_of_it)


def attempts_forgotten(patch: Patch) -> None:
    """After an error, only what is tried again counts as attempted."""

    def attempt(self: Resolver, last: Any) -> None:
        self._attempted = last.sequence_number

    patch.setattr(Resolver, "attempt", attempt)


def given_up_for_any_error(patch: Patch) -> None:
    """An error that nobody expects is taken for the fault of the event that was being handled."""
    process = Pipeline.process

    async def give_up(self: Pipeline, events: list[Any]) -> None:
        try:
            await process(self, events)
        except ArithmeticError:
            self._finish(events[-1])

    patch.setattr(Pipeline, "process", give_up)


def looked_up_by_the_present_rule(patch: Patch) -> None:
    """Copies in doubt are looked up where the present rule would have put them."""
    patch.setattr(Resolver, "_candidates", lambda self, partition, *, is_own: [partition])


def attempts_looked_up_by_the_present_rule(patch: Patch) -> None:
    """What this process has attempted is not looked up where a predecessor of another rule may have published it."""
    candidates = Resolver._candidates

    def own_only(self: Resolver, partition: str, *, is_own: bool) -> list[str]:
        return [partition] if is_own else candidates(self, partition, is_own=False)

    patch.setattr(Resolver, "_candidates", own_only)


def claims_that_outlive_their_events(patch: Patch) -> None:
    """An unconfirmed claim is kept for longer than the input hub keeps its event."""
    patch.setattr(Retention, "unconfirmed_ttl_ms", lambda *_: 10 * 86_400_000)


def claims_that_end_with_the_configured_retention(patch: Patch) -> None:
    """An event that is older than the setting gets a claim that is gone before it is confirmed."""

    def left(self: Retention, enqueued_ms: int, now_ms: int) -> int:
        return max(1, min(self.configured_ms, enqueued_ms + self.configured_ms - now_ms))

    patch.setattr(Retention, "unconfirmed_ttl_ms", left)


def keeps_what_it_cannot_read(patch: Patch) -> None:
    """A pod that is cut off from the input hub keeps its partitions for as long as it reaches Redis."""
    patch.setattr(GivingUp, "review", lambda *_: None)


def waits_for_what_has_expired(patch: Patch) -> None:
    """A takeover insists on reading the clean stream as a whole."""
    read = SimulatedPublisher.read

    async def insist(self: SimulatedPublisher, partition_id: str, after: int, see: Any) -> int:
        first = await read(self, partition_id, after, see)
        if first > after + 1:
            raise UnavailableError(CLEAN_HUB_READING, "the end was not reached")
        return first

    patch.setattr(SimulatedPublisher, "read", insist)


def trusts_numbers(patch: Patch) -> None:
    """As long as the hub says that it is the same, its numbers are taken to go on where they were."""
    patch.setattr(PartitionState, "went_back", lambda *_: False)

    def fresh(self: Progress, events: list[Any]) -> list[Any]:
        finished = -1 if self.finished is None else self.finished.sequence_number
        return [event for event in events if event.sequence_number > finished]

    patch.setattr(Progress, "fresh", fresh)


def takes_what_has_expired_for_published(patch: Patch) -> None:
    """A copy in doubt that may have been published in the part that is gone counts as published."""
    outcome_of = resolving.outcome_of

    def outcome(origin: Any, published: Any) -> str:
        found = outcome_of(origin, published)
        return resolving.FOUND if found == resolving.EXPIRED else found

    patch.setattr(resolving, "outcome_of", outcome)


def skip_by_sequence_number(patch: Patch) -> None:
    """Events up to the finished number are skipped, whatever their time, and nothing checks whether the hub is the same.

    A recreated hub starts its numbers over.
    """

    def fresh(self: Progress, events: list[Any]) -> list[Any]:
        finished = -1 if self.finished is None else self.finished.sequence_number
        return [event for event in events if event.sequence_number > finished]

    async def trust(*_: Any) -> None:
        return

    patch.setattr(Progress, "fresh", fresh)
    patch.setattr(PartitionWorker, "_check_hub", trust)


def repetitions_keep_nothing(patch: Patch) -> None:
    """A confirmed claim ends a window after its confirmation, however often its reading is repeated meanwhile."""
    request = Claimer._request

    def unkept(self: Claimer, *given: Any) -> Any:
        return structs.replace(request(self, *given), confirmed_ttl_ms=0)

    patch.setattr(Claimer, "_request", unkept)


def repetitions_keep_what_is_unconfirmed(patch: Patch) -> None:
    """A repetition prolongs every claim, and so one whose event the input hub drops before anybody has published it."""
    patch.setattr(MemoryClaims, "_is_kept_by", lambda self, holder, mine: holder.origin != mine.origin)


def replays_are_counted(patch: Patch) -> None:
    """The ledger does not remember how far each partition was counted."""
    count = MemoryLedger.count

    def again(self: MemoryLedger, request: Any, held: Any) -> None:
        self.accounted.clear()
        count(self, request, held)

    patch.setattr(MemoryLedger, "count", again)


def rebuild_without_a_fence(patch: Patch) -> None:
    """The clean stream is read back while owners of before may still send."""

    async def at_once(*_: Any) -> bool:
        return True

    patch.setattr(Rebuilder, "_is_fenced", at_once)


def leases_survive_the_fence(patch: Patch) -> None:
    """A lease that was refused goes on once claims may be made again, with the verdicts of before."""

    def unharmed(held: list[Lease]) -> Renewal:
        return Renewal(pods=[], free=[], lost=[], sample=None)

    patch.setattr(ports, "all_lost", unharmed)
    patch.setattr(ports, "still_held", lambda held, _: held)


def noted_before_the_last_claim(patch: Patch) -> None:
    """A part counts as read back while its claims are still being written."""
    read = Rebuilder._read_back

    async def early(self: Rebuilder, part: Part, keep: Any) -> ReadBack:
        reading = asyncio.create_task(read(self, part, keep))
        reading.add_done_callback(lambda done: done.cancelled() or done.exception())
        return part.read_to(part.stop or 0)

    patch.setattr(Rebuilder, "_read_back", early)


def noted_for_another_generation(patch: Patch) -> None:
    """What was restored before Redis forgot again counts as restored after it."""
    patch.setattr(MemoryMarkers, "_of", lambda self, marker: self.generations.known(marker.shard))


def marker_of_another_server(patch: Patch) -> None:
    """A replica's copy of the marker is believed on any server."""
    patch.setattr(MemoryServer, "_is_servers", lambda self, marker: marker.server > 0)


def calls_are_not_compared(patch: Patch) -> None:
    """A server without a name that went back is not noticed."""
    patch.setattr(MemoryServer, "went_back", lambda *_: False)


def earlier_generations_go_on(patch: Patch) -> None:
    """A server without a name comes back with the marker of before the last rebuild, and is believed."""
    patch.setattr(Generations, "least", lambda *_: 0)


def claims_of_before_are_kept(patch: Patch) -> None:
    """What the server still has is believed, although the clean stream says otherwise."""
    restore = MemoryMarkers._restore

    def kept(self: MemoryMarkers, key: bytes, claim: bytes, ends_ms: int) -> bool:
        return key not in self.server.claims.stored and restore(self, key, claim, ends_ms)

    patch.setattr(MemoryMarkers, "_restore", kept)


def earlier_terms_are_believed(patch: Patch) -> None:
    """An unconfirmed claim blocks other copies, also when it was made before its server had forgotten."""

    def is_orphan(self: MemoryClaims, holder: Claim, live: Sequence[int]) -> bool:
        return not holder.confirmed and bool(live) and holder.origin.incarnation not in live

    patch.setattr(MemoryClaims, "is_orphan", is_orphan)


def records_of_before_are_believed(patch: Patch) -> None:
    """A record that was written before Redis forgot is believed, although the checkpoint is behind it."""
    finished = takeover._finished
    patch.setattr(takeover, "_finished", lambda *given, is_current: finished(*given, is_current=True))


def old_copies_are_judged(patch: Patch) -> None:
    """Once claims may be made, all copies are judged, also those whose winners are not read back yet."""
    patch.setattr(Memory, "_can_judge", lambda self, request, reading: bool(self.read_back_to))


def clocks_ahead_are_believed(patch: Patch) -> None:
    """A reading's own time is believed, although the clock that stamped it may be ahead."""
    can_judge = Memory._can_judge

    def believing(self: Memory, request: ClaimRequest, reading: Reading) -> bool:
        exact = replace(self, clock_error_ms=0)
        return can_judge(exact, structs.replace(request, enqueued_ms=2**48), reading)

    patch.setattr(Memory, "_can_judge", believing)


def configurations_work_side_by_side(patch: Patch) -> None:
    """A pod is granted leases while others work that know other inputs."""
    patch.setattr(MemoryAtWork, "allows", lambda *_: True)


def markers_of_another_number_are_believed(patch: Patch) -> None:
    """When the number of shards changes back, what their markers said before is believed."""

    async def nothing(*_: object) -> None:
        return

    patch.setattr(MemoryMarkers, "end", nothing)


def claims_are_left_unpublished(patch: Patch) -> None:
    """A pod that is asked to leave sends nothing more of what it has claimed, although nobody may read it again."""
    patch.setattr(waiting, "FINISHING_SECONDS", 0.0)


def begun_before_it_is_written(patch: Patch) -> None:
    """How far an owner may begin is written with the next renewal only, when it has begun."""

    async def later(self: Beginning, number: int) -> None:
        self.lease.begun = max(self.lease.begun, number)

    patch.setattr(Beginning, "reach", later)


def what_predecessors_began_is_forgotten(patch: Patch) -> None:
    """An owner says only how far it has begun itself, also below the horizon of its takeover."""
    patch.setattr(Takeover, "_inherit", lambda *_: None)


def sample_passes_attempts(patch: Patch) -> None:
    """The newest sample is taken although later events were attempted, in a longer batch that failed."""

    def finish(self: Resolver, last: Any, newest: EndOffsets) -> None:
        self._finished = last.sequence_number
        if last.sequence_number >= self._horizon and newest:
            self.sample, self.rule = newest, self._present_rule

    patch.setattr(Resolver, "finish", finish)


def counts_outlive_their_owner(patch: Patch) -> None:
    """What is read again counts again against its replica's limits, so that what was claimed may be refused."""
    counted: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, SentReadings] = weakref.WeakKeyDictionary()

    def of_this_run(limits: Limits) -> SentReadings:
        return counted.setdefault(asyncio.get_running_loop(), EveryTime(limits))

    patch.setattr(limiting, "SentReadings", of_this_run)


class EveryTime(SentReadings):
    def add(self, *event: Any) -> float:
        self._counted_to = -1
        return super().add(*event)


def refused_after_claiming(patch: Patch) -> None:
    """A copy claims before its replica's limits are asked."""
    limit, publish = Limiter.limit, Pipeline._publish

    async def limited_late(self: Pipeline, work: list[EventWork]) -> None:
        for item in work:
            limit(self._limiter, item)
            item.verdicts = item.verdicts if item.extraction.readings else []
            item.request = item.request if item.extraction.readings else None
        await publish(self, work)

    patch.setattr(Limiter, "limit", lambda *_: None)
    patch.setattr(Pipeline, "_publish", limited_late)


CAUGHT_BY: dict[str, tuple[Mutant, str]] = {
    "naive": (naive, "crashes"),
    "checkpoint-first": (checkpoint_first, "many crashes"),
    "no-tail": (no_tail, "many crashes"),
    "sample-late": (sample_late, "many crashes"),
    "sample-not-inherited": (sample_not_inherited, "relay"),
    "tail-by-key": (tail_by_mark, "mark"),
    "no-fence": (no_fence, "zombies"),
    "begun-before-it-is-written": (begun_before_it_is_written, "many crashes"),
    "what-predecessors-began-is-forgotten": (what_predecessors_began_is_forgotten, "crash after crash"),
    "blind-retry": (blind_retry, "bad sends"),
    "confirm-before-publish": (confirm_before_publish, "many crashes"),
    "claim-by-a-refused-copy": (claim_by_a_refused_copy, "calm"),
    "origin-without-index": (origin_without_index, "many crashes"),
    "horizon-forgotten": (skip_in_doubt_as_own_call, "many crashes"),
    "no-first-record": (no_first_record, "many crashes"),
    "claims-that-outlive-their-events": (claims_that_outlive_their_events, "retention"),
    "claims-that-end-with-the-configured-retention": (claims_that_end_with_the_configured_retention, "backlog"),
    "unsent-is-confirmed": (unsent_is_confirmed, "stops"),
    "attempts-forgotten": (attempts_forgotten, "defects"),
    "sample-passes-attempts": (sample_passes_attempts, "defects"),
    "given-up-for-any-error": (given_up_for_any_error, "defects"),
    "looked-up-by-the-present-rule": (looked_up_by_the_present_rule, "reroutes"),
    "attempts-looked-up-by-the-present-rule": (attempts_looked_up_by_the_present_rule, "reroutes"),
    "keeps-what-it-cannot-read": (keeps_what_it_cannot_read, "cut off"),
    "waits-for-what-has-expired": (waits_for_what_has_expired, "expired"),
    "takes-what-has-expired-for-published": (takes_what_has_expired_for_published, "expired"),
    "trusts-numbers": (trusts_numbers, "failover"),
    "repetitions-keep-nothing": (repetitions_keep_nothing, "repetitions"),
    "repetitions-keep-what-is-unconfirmed": (repetitions_keep_what_is_unconfirmed, "retention"),
    "rebuild-without-a-fence": (rebuild_without_a_fence, "redis lags, crashes"),
    "leases-survive-the-fence": (leases_survive_the_fence, "redis lags, zombies"),
    "noted-before-the-last-claim": (noted_before_the_last_claim, "redis forgets"),
    "noted-for-another-generation": (noted_for_another_generation, "redis forgets twice"),
    "marker-of-another-server": (marker_of_another_server, "redis returns"),
    "calls-are-not-compared": (calls_are_not_compared, "redis lags, unnamed"),
    "earlier-generations-go-on": (earlier_generations_go_on, "redis returns, unnamed"),
    "claims-of-before-are-kept": (claims_of_before_are_kept, "redis returns"),
    "earlier-terms-are-believed": (earlier_terms_are_believed, "redis returns, slowly"),
    "records-of-before-are-believed": (records_of_before_are_believed, "redis returns, slowly"),
    "old-copies-are-judged": (old_copies_are_judged, "redis forgets"),
    "clocks-ahead-are-believed": (clocks_ahead_are_believed, "redis forgets"),
    "configurations-work-side-by-side": (configurations_work_side_by_side, "input added"),
    "markers-of-another-number-are-believed": (markers_of_another_number_are_believed, "resharded"),
    "claims-are-left-unpublished": (claims_are_left_unpublished, "input removed"),
    "counts-outlive-their-owner": (counts_outlive_their_owner, "beyond limits, refused"),
    "refused-after-claiming": (refused_after_claiming, "beyond limits, refused"),
    "replays-are-counted": (replays_are_counted, "many crashes"),
    "skip-by-sequence-number": (skip_by_sequence_number, "recreated"),
}
MAY_STAND_STILL = {"skip-by-sequence-number", "trusts-numbers", "keeps-what-it-cannot-read", "waits-for-what-has-expired"}
"""Mutants that are caught by a partition that is never finished."""
