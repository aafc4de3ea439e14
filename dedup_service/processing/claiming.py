"""Claims the readings of a batch, and confirms those that are published."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

from dedup_service.core.claim_requests import ClaimRequest, in_calls
from dedup_service.core.claims import (
    OTHER_NAME,
    OTHER_REPLICA,
    Verdict,
    event_bytes,
    judge,
    key_digests,
    unpack,
)
from dedup_service.core.groups import Group
from dedup_service.core.retention import Retention
from dedup_service.core.times import all_times, late_and_unreadable
from dedup_service.errors import ForgottenError
from dedup_service.processing.counting import conflict_example
from dedup_service.processing.event_work import NOTHING, EventWork
from dedup_service.processing.shared import Shared
from dedup_service.telemetry import CONFLICT, Count
from dedup_service.waiting import Retrier

NO_INDEXES: frozenset[int] = frozenset()
CLAIMS_PER_CALL = 1000
"""A script blocks Redis while it runs, for about 6 ms with this many keys."""
REBUILD_WAIT_SECONDS = 0.25

T = TypeVar("T")


class _Moment(NamedTuple):
    """What the requests of one batch have in common."""

    now_ms: int
    spread_ms: int
    are_times: bool
    """Whether `all_times` has said so of all readings of the batch."""


@dataclass(frozen=True, slots=True)
class Claimer:
    """Claims and confirms for one partition of one input hub."""

    shared: Shared
    retrier: Retrier
    retention: Retention

    async def claim(self, work: list[EventWork], in_doubt_up_to: int) -> None:
        """Gives every reading its verdict. Up to the sequence number `in_doubt_up_to`, a copy that finds its own unconfirmed
        claim may have been published."""
        claiming = [(item, item.group) for item in work if item.group is not None and item.extraction.readings]
        numbers = await self._replica_numbers(claiming)
        moment = self._moment(claiming)
        for item, group in claiming:
            try:
                item.request = self._request(item, group, numbers[group.name, item.replica], moment)
            except Exception as error:  # noqa: BLE001  # see give_up
                self.shared.give_up(item, error)
                item.extraction = NOTHING
        requests = [item.request for item in work if item.request is not None]
        claims = await self._when_remembered(partial(self._claim_all, requests))
        at = 0
        for item in work:
            if item.request is not None:
                own = claims[at : at + len(item.request.keys)]
                at += len(own)
                self._judge(item, item.request, own, in_doubt=item.event.sequence_number <= in_doubt_up_to)

    async def _replica_numbers(self, claiming: list[tuple[EventWork, Group]]) -> dict[tuple[str, str], int]:
        """By group and replica. A replica that has sent nothing that may claim gets no number."""
        return {
            (group, replica): await self.retrier.run(partial(self.shared.ports.claims.replica_number, group, replica))
            for group, replica in dict.fromkeys((group.name, item.replica) for item, group in claiming)
        }

    def _moment(self, claiming: list[tuple[EventWork, Group]]) -> _Moment:
        now_ms = self.shared.ports.clock.now_ms()
        times = [reading.time for item, _ in claiming for reading in item.extraction.readings]
        return _Moment(now_ms, self.shared.ports.telemetry.lag_spread_ms(now_ms), all_times(times))

    def _request(self, item: EventWork, group: Group, number: int, moment: _Moment) -> ClaimRequest:
        event, readings = item.event, item.extraction.readings
        if number == OTHER_REPLICA:
            item.replica = OTHER_NAME
        times = [reading.time for reading in readings]
        late, item.unreadable_times = late_and_unreadable(
            times, event.enqueued_ms, group.window_ms, are_times=moment.are_times
        )
        return ClaimRequest(
            group.name,
            number,
            item.first_origin,
            event.enqueued_ms,
            self.retention.unconfirmed_ttl_ms(event.enqueued_ms, moment.now_ms),
            group.window_ms + moment.spread_ms,
            readings,
            key_digests(group.claim_scope, readings),
            frozenset([readings[place].index for place in late]) if late else NO_INDEXES,
            item.is_observed,
        )

    async def _claim_all(self, requests: list[ClaimRequest]) -> list[bytes | None]:
        """All of them, or none: what was found before Redis forgot counts no more."""
        claims: list[bytes | None] = []
        for call in in_calls(requests, CLAIMS_PER_CALL):
            claims += await self.retrier.run(partial(self._claim, call))
        return claims

    async def _claim(self, call: list[ClaimRequest]) -> list[bytes | None]:
        """Raises ForgottenError while the copies can't be judged, because their winners may be among what Redis forgot."""
        if not self.shared.memory.can_judge(call):
            raise ForgottenError("it is not read back yet")
        return await self.shared.ports.claims.claim(call, self.shared.incarnations.live())

    async def _when_remembered(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Waits for the rebuild of what Redis forgot. That is no fault of this partition, which does not stall by it."""
        while True:
            try:
                return await operation()
            except ForgottenError:
                self.retrier.raise_if_stopping()
                await self.shared.ports.clock.sleep(REBUILD_WAIT_SECONDS)

    def _judge(self, item: EventWork, request: ClaimRequest, claims: list[bytes | None], *, in_doubt: bool) -> None:
        event = event_bytes(request.event)
        item.verdicts = [
            judge(event, reading, claim, in_doubt=in_doubt) for reading, claim in zip(request.readings, claims, strict=True)
        ]
        if Verdict.CONFLICT in item.verdicts:
            self._settle_conflicts(item, claims)

    def _settle_conflicts(self, item: EventWork, claims: list[bytes | None]) -> None:
        for reading, verdict, claim in zip(item.extraction.readings, item.verdicts, claims, strict=True):
            if verdict is Verdict.CONFLICT and claim is not None and item.group is not None:
                self.shared.ports.telemetry.add_example(
                    CONFLICT, **conflict_example(item, item.group, reading, unpack(claim))
                )
        if item.group is not None and item.group.on_conflict == "dead-letter":
            self.shared.admission.refuse_copies(item, CONFLICT, item.with_verdict(Verdict.CONFLICT))

    async def confirm(self, work: list[EventWork], *, published_only: bool = False) -> None:
        """Keeps the claims of readings in the clean stream for their group's window plus the present spread of lag."""
        ports = self.shared.ports
        spread_ms = ports.telemetry.lag_spread_ms(ports.clock.now_ms())
        by_window: dict[int, list[ClaimRequest]] = {}
        for item in work:
            if item.group is not None and item.request is not None:
                places = _in_clean_stream(item, published_only=published_only)
                if places:
                    by_window.setdefault(item.group.window_ms, []).append(item.request.only(places))
        for window_ms, requests in by_window.items():
            for call in in_calls(requests, CLAIMS_PER_CALL):
                confirm = partial(ports.claims.confirm, call, window_ms + spread_ms)
                lost = await self._when_remembered(partial(self.retrier.run, confirm))
                ports.telemetry.add(Count.CLAIMS_LOST, lost)


def _in_clean_stream(item: EventWork, *, published_only: bool) -> Sequence[int]:
    """The places of an event's readings that are to be confirmed. `published_only`: winners only if the clean hub has
    acknowledged them."""
    verdicts = item.verdicts
    won, count = verdicts.count(Verdict.WINNER), len(verdicts)
    if won == count and not published_only:
        return range(count)
    if not won and Verdict.FOUND not in verdicts:
        return ()
    published = item.published
    return [
        place
        for place, (reading, verdict) in enumerate(zip(item.extraction.readings, verdicts, strict=True))
        if (verdict is Verdict.WINNER and (reading.index in published or not published_only)) or verdict is Verdict.FOUND
    ]
