"""What the service needs from outside, in the order of use. Each docstring states guarantee, failure and idempotence.

All of them raise UnavailableError when they can't be used right now; the caller slows down and tries again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from dedup_service.core.accounting import Counts, SourceHistory
from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import Claim
from dedup_service.core.events import Extraction, InputEvent
from dedup_service.core.leases import PRESENT, EndOffsets, Lease, LeaseRecord, Presence, Renewal
from dedup_service.core.markers import Marker, ReadBack, RestoredEvent
from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.core.overview import ReplicaSeen
from dedup_service.core.pod_report import PodReport
from dedup_service.core.progress import Position
from dedup_service.core.timeline import Timeline
from dedup_service.errors import Dependency

# --- the input hub


@dataclass(frozen=True, slots=True)
class HubInfo:
    incarnation: int
    """Changes when the hub is recreated; see `incarnation_of` in core/claims.py."""
    partition_ids: list[str]


@dataclass(frozen=True, slots=True)
class PartitionState:
    first_sequence_number: int
    last_sequence_number: int
    """-1 while nothing was ever enqueued."""
    last_offset: str
    last_enqueued_ms: int

    def has_more_than(self, finished: Position | None) -> bool:
        """Whether the hub keeps events behind this position."""
        if finished is not None and finished.is_a_time and self.last_enqueued_ms <= finished.enqueued_ms:
            return False
        following = 0 if finished is None else finished.sequence_number + 1
        return self.last_sequence_number >= max(self.first_sequence_number, following)

    def went_back(self, finished: Position) -> bool:
        """Whether the numbers start over behind an event that was finished: the hub ends before it, and yet has later
        events."""
        return self.last_sequence_number < finished.sequence_number and self.last_enqueued_ms > finished.enqueued_ms > 0


@dataclass(frozen=True, slots=True)
class StartPosition:
    """Where reading starts: at one of these, or at the beginning of what the hub keeps.

    `sequence_number` is that of the last finished event, which is delivered again as a proof that the number still belongs
    to it. An offset would not do: in another log it may lie between two events, and those before it would be left out.
    """

    sequence_number: int | None = None
    enqueued_ms: int | None = None

    def __str__(self) -> str:
        if self.sequence_number is not None:
            return f"at sequence number {self.sequence_number}"
        return "at the beginning" if self.enqueued_ms is None else f"at enqueued time {self.enqueued_ms} ms"


class PartitionReader(Protocol):
    """Delivers the events of one partition in order, at least once: after a reconnect some may be delivered again."""

    async def read(self, max_wait_seconds: float) -> list[InputEvent]:
        """The next events; empty when none arrived in time. Raises UnavailableError when this reader has ended, for instance
        because another owner took the partition; then open a new one."""
        ...

    def close(self) -> None:
        """Stops receiving. Returns at once; the hub's `close` waits for what is under way."""
        ...


class InputHub(Protocol):
    @property
    def dependency(self) -> Dependency:
        """Named in the hub's errors; those of its readers are of the kind INPUT_HUB_READING."""
        ...

    async def info(self, max_age_seconds: float = 0.0) -> HubInfo:
        """The hub's answer to a question that was asked at most so long ago, and so not before this call unless an age is
        given."""
        ...

    async def partition_state(self, partition_id: str) -> PartitionState: ...

    def open(self, partition_id: str, start: StartPosition, owner_level: int | None) -> PartitionReader:
        """Reads from `start`. A reader with an equal or higher owner level ends the others in this consumer group. One
        without ends nobody, and is refused (ShutOutError) where another one has a level."""
        ...

    async def close(self) -> None: ...


class Extractor(Protocol):
    """Finds the readings of an event. Pure."""

    def extract(self, event: InputEvent, pointers: Sequence[str] = ()) -> Extraction:
        """`pointers`: JSON pointers to the parts of the data that copies must agree on; empty for all of it.

        Raises UndeliverableError when the event as a whole can't be read.
        """
        ...


# --- claims and the clean stream


class ClaimStore(Protocol):
    async def claim(self, requests: Sequence[ClaimRequest], live: Sequence[int]) -> list[bytes | None]:
        """For each reading of the requests, in order: None when the key was free and is now claimed, else the claim that
        holds it.

        Guarantee: however many callers and calls, at most one origin holds a key until its claim expires. A duplicate's
        replica bit is added to the claim it finds. A repetition, which is a duplicate whose replica's bit is there already,
        keeps a confirmed claim for at least its request's `confirmed_ttl_ms` from now on; no other copy that finds a claim
        moves its end, and none makes it earlier. An unconfirmed claim of a hub incarnation that is not in `live` counts as
        free, because its winner can't be read again; an empty `live` means that the incarnations are not known. Each copy is
        accounted for with its claim, exactly once (core/accounting.py).
        Failure: repeat the call, also after an ambiguous one; ForgottenError where Redis has forgotten claims: wait until
        they are rebuilt. Idempotent: a repeated call finds its own claims.
        """
        ...

    async def confirm(self, requests: Sequence[ClaimRequest], ttl_ms: int) -> int:
        """Marks claims as published and keeps them for `ttl_ms`. Returns how many their origin no longer held.

        Confirms only if the origin still owns the claim: a claim lost to another origin is not an error, and one that has
        disappeared is written again. Idempotent. Raises ForgottenError, too.
        """
        ...

    async def replica_number(self, group: str, replica: str) -> int:
        """The replica's bit in claims, allotted once and permanently for each group and name. Idempotent."""
        ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


class Publisher(Protocol):
    """Sends to a hub."""

    async def partition_ids(self) -> list[str]: ...

    async def open(self, partition_ids: Sequence[str]) -> None:
        """Connects in advance, so that the first send does not wait for it. Failures are left to that send."""
        ...

    def reopen(self) -> None:
        """Begins to connect again where a connection over which was sent is cut off. Failures are left to the next send."""
        ...

    async def ends(self) -> dict[str, int]:
        """The last enqueued sequence number of every partition, now; -1 where nothing was ever sent."""
        ...

    async def publish(
        self, partition_id: str, events: Sequence[OutgoingEvent], permit: Callable[[float], None] | None = None
    ) -> int:
        """Sends the first events, as many as fit into one message, and returns how many: they are acknowledged, in order.

        `permit` is called with the time-out of the send, in seconds, after all waiting and right before the attempt, and may
        raise. After the time-out nothing of this attempt is written any more.
        Raises UndeliverableError when the first can never be sent (then none was), and UnavailableError otherwise; an
        ambiguous one means that any of them may be in the hub. Not idempotent.
        """
        ...

    async def close(self) -> None: ...


class CleanTail(Protocol):
    """Reads the end of the clean stream back."""

    async def try_reading(self) -> list[str]:
        """Tries whether `read` would succeed, without disturbing anybody. Returns what other readers keep this one from,
        whom `read` would end. Raises ConfigurationError when a consumer group or a right is missing."""
        ...

    async def read(self, partition_id: str, after: int, see: Callable[[int, Mapping[str, Any]], None]) -> int:
        """Shows every event behind sequence number `after` that the hub still keeps, up to the end at the time of the call:
        its sequence number and its application properties. It holds no more of them than the hub sends in advance.

        Returns the sequence number from which on all were shown, which is `after` + 1 unless some have expired."""
        ...

    async def partition_state(self, partition_id: str) -> PartitionState: ...

    def open_reader(self, partition_id: str, start: StartPosition, *, by_force: bool = False) -> PartitionReader:
        """Reads on from `start`. A reader that is shut out by others (ShutOutError) can be opened `by_force`."""
        ...

    async def close(self) -> None: ...


class Markers(Protocol):
    """Whether Redis has forgotten claims, and how they are rebuilt from the clean stream (R12; core/markers.py).

    Claims and leases refuse to work (ForgottenError) with a shard whose marker is missing, is of another generation than
    this pod has seen, names another server than the one that answers, or is not ready.
    """

    @property
    def are_ready(self) -> bool:
        """False when a call was refused since the markers were last looked at."""
        ...

    async def look(self) -> list[Marker]:
        """The markers of all shards. Where one is missing or names another server, a new generation begins. Raises
        ForgottenError while pods with another number of shards are at work, whose claims these are not."""
        ...

    async def distrust(self) -> None:
        """Begins a new generation of all shards: what stands beside the leases shows that Redis has forgotten."""
        ...

    async def fence(self, marker: Marker) -> int:
        """Refuses to renew all leases of before this generation of the shard. Returns for how long that is so, in ms by
        Redis' clock. Idempotent."""
        ...

    async def may_read(self, pod_id: str, partition_id: str, seconds: float) -> bool:
        """True for one pod at a time, for so long from now. It only spares work: what is restored twice is the same."""
        ...

    async def restore(self, events: Sequence[RestoredEvent], markers: Collection[Marker]) -> int:
        """Claims what the clean stream says was published, in these markers' shards. Returns how many claims were written,
        which leaves out those that have ended. What else is claimed of these keys is replaced.

        Idempotent, whatever happened since. Raises ForgottenError when a shard has a later generation.
        """
        ...

    async def note(self, marker: Marker, partition_id: str, read_back: ReadBack, partitions: Collection[str]) -> None:
        """Notes how far a clean partition was read back, after all of it was restored. The shard is ready once that is noted
        for all `partitions`. Idempotent, and never goes back. Raises ForgottenError, as `restore`."""
        ...


# --- ownership and progress


class Leases(Protocol):
    """The right to send, one lease for each input partition, and the list of live pods that share them."""

    def add_partitions(self, partition_ids: Sequence[str]) -> None:
        """The hub has got these partitions in addition."""
        ...

    async def known_at_first(self, incarnation: int, partition_ids: Sequence[str]) -> frozenset[str]:
        """The partitions that this incarnation of the hub had when the deployment first read it: those of the first call, by
        whichever pod. Idempotent."""
        ...

    async def renew(self, pod_id: str, held: Sequence[Lease], presence: Presence = PRESENT) -> Renewal:
        """Prolongs the leases that this pod still holds, writes their records, and returns who takes part and what is free.
        A lease whose epoch is not the stored one is lost, whatever the reason."""
        ...

    async def take(self, pod_id: str, partition_id: str) -> Lease | None:
        """Takes a free partition's lease, with an epoch above all earlier ones; None when another pod holds it."""
        ...

    async def write(self, lease: Lease, record: LeaseRecord, *, release: bool = False) -> bool:
        """Writes the record, and with `release` gives the lease up. Returns False when the lease is lost. Idempotent."""
        ...

    async def began_ms(self, now_ms: int) -> int:
        """When work began here, in ms since the epoch: the time of the first call, by whichever pod."""
        ...

    async def leave(self, pod_id: str) -> None:
        """Removes this pod from the live ones."""
        ...

    async def may_sample(self, interval_seconds: float) -> bool:
        """True for one caller among all pods in each interval of this length."""
        ...

    async def save_sample(self, sample: EndOffsets, recent_seconds: float) -> None:
        """For so long from now on, it is the recent one."""
        ...

    async def recent_sample(self) -> EndOffsets | None: ...


class Precedence(Protocol):
    """Which pods go first where several kinds of them read one input hub with one consumer group."""

    async def must_wait(self) -> bool:
        """Whether this pod must leave all partitions to others. Called in every interval of renewals, before any lease is
        taken: a pod that goes first so says that it is there."""
        ...

    async def observed_until_ms(self) -> int | None:
        """When a pod that only observes was last there, in ms since the epoch."""
        ...


class Checkpoints(Protocol):
    """Finished positions of one input hub and consumer group."""

    async def load(self) -> dict[str, Position]:
        """By partition id."""
        ...

    async def save(self, partition_id: str, position: Position) -> None:
        """Idempotent. Unconditional: a former owner may move it back, which costs the next one some replays."""
        ...

    async def close(self) -> None: ...


class Clock(Protocol):
    def now_ms(self) -> int:
        """Wall clock, milliseconds since the epoch; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None: ...


# --- what people see


@dataclass(frozen=True, slots=True)
class SourceSeen:
    source: str
    processed_ms: int


@dataclass(frozen=True, slots=True)
class StoredClaim:
    claim: Claim
    ttl_ms: int


class Ledger(Protocol):
    """What the claim store has counted for the whole deployment: every pod reads the same. See core/accounting.py."""

    async def now_ms(self) -> int:
        """The clock of processed times, in ms since the epoch."""
        ...

    async def minutes(self, group: str, numbers: Sequence[int], names: Sequence[str] | None = None) -> list[Counts]:
        """Counts of each minute, numbered since the epoch; kept for about an hour. `names`: only these of them."""
        ...

    async def hours(self, group: str, numbers: Sequence[int]) -> Counts:
        """Counts of these hours together, numbered since the epoch; kept for about a day."""
        ...

    async def replicas(self, group: str) -> list[ReplicaSeen]:
        """In the order of their numbers."""
        ...

    async def sources(self, group: str, start: str = "", limit: int | None = None, contains: str = "") -> list[SourceSeen]:
        """Those seen within a day with this text in their names, by name: from `start` on, and at most `limit`."""
        ...

    async def source_counts(self, group: str, source: str, hours: Sequence[int]) -> Counts: ...

    async def counts_of(self, group: str, sources: Sequence[str], hours: Sequence[int]) -> list[Counts]:
        """The same for several sources, in their order. Redis is kept busy by all of them at once."""
        ...

    async def counted_together(self, group: str, hours: Sequence[int]) -> Counts:
        """Counts of all sources beyond the limit, of which nothing is known one by one."""
        ...

    async def gaps(self, group: str, start: str = "", limit: int | None = None) -> list[tuple[str, SourceHistory]]:
        """Sources with missing numbers, by name: from `start` on, and at most `limit`."""
        ...

    async def histories(self, group: str, sources: Sequence[str]) -> dict[str, SourceHistory]:
        """Of those of these sources that number their readings."""
        ...

    async def forgot_ms(self) -> int | None:
        """When Redis was last found to have forgotten claims, and with them what was counted before; None when it has
        forgotten nothing that the clean stream shows."""
        ...

    async def find(self, claim_scope: str, source: str, reading_id: str) -> StoredClaim | None: ...


@dataclass(frozen=True, slots=True)
class PodStatus:
    pod: str
    report: PodReport


@dataclass(frozen=True, slots=True)
class RedisMemory:
    used_bytes: int
    limit_bytes: int
    """maxmemory, or the machine's memory; 0 when neither is known."""
    evicted_keys: int


@dataclass(frozen=True, slots=True)
class SharedContent:
    """What one pod has made for all."""

    content: bytes | None
    """The latest; None where there is none."""
    is_mine_to_make: bool
    """Whether the caller is the one who makes the next."""


class PodBoard(Protocol):
    """What the pods report to each other, so that each of them can answer for all."""

    async def tell(
        self,
        pod_id: str,
        number: int,
        report: PodReport,
        increments: Mapping[str, int],
        recognised: Mapping[str, int] = MappingProxyType({}),
        flow: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """Replaces this pod's report, and adds to the deployment's totals, to what was `recognised` in the present hour, and
        to what was finished (`flow`, core/flow.py) in the present slot. Idempotent for one pod and number, which rises."""
        ...

    async def leave(self, pod_id: str) -> None: ...

    async def pods(self) -> list[PodStatus]:
        """Those that reported within the last few seconds, by name."""
        ...

    async def totals(self) -> dict[str, int]: ...

    async def recognised(self, hours: Sequence[int]) -> Counts:
        """What was recognised in these hours, numbered since the epoch (core/unknown_formats.py); kept for about a day."""
        ...

    async def flow(self, group: str, minutes: Sequence[int]) -> list[Counts]:
        """What was finished in each minute, numbered since the epoch (`slots_of` in core/flow.py); kept for about an hour.
        Nothing is added to a minute that is over, by the ledger's clock."""
        ...

    async def shared(self, name: str, fresh_ms: int, turn_ms: int) -> SharedContent:
        """What was last shared under this name. Where that is older than `fresh_ms`, it is one caller's turn to make the
        next, until that is shared or `turn_ms` have passed."""
        ...

    async def share(self, name: str, content: bytes, keep_ms: int) -> None:
        """Shares this with all pods for `keep_ms`, and ends the turn. Idempotent."""
        ...

    async def add_examples(self, kind: str, examples: Sequence[Mapping[str, Any]]) -> None:
        """Keeps some recent examples of what was counted. Not idempotent."""
        ...

    async def examples(self, kind: str) -> list[dict[str, Any]]:
        """Newest first, 200 at most."""
        ...

    async def memory(self) -> RedisMemory: ...


@dataclass(frozen=True, slots=True)
class StoredTimeline:
    version: bytes
    """Another one after each replacement; empty where none was ever written."""
    timeline: Timeline | None
    """None where there is none that can be read."""


class TimelineStore(Protocol):
    """What happened to the deployment, the same for all pods (core/timeline.py)."""

    async def load(self, known: StoredTimeline | None = None) -> StoredTimeline:
        """`known` itself while nothing else is stored; asking for that costs next to nothing."""
        ...

    async def replace(self, known: StoredTimeline, timeline: Timeline) -> StoredTimeline | None:
        """None when something else than `known` is stored: then nothing is replaced. An ambiguous failure may have replaced
        it; load it again."""
        ...
