"""What the sender needs from outside: clocks, sources of samples, an uplink, its twin and, for active-passive, a witness."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol, runtime_checkable

from wire.ids import Sample


@dataclass(frozen=True, slots=True)
class Clocks:
    monotonic: Callable[[], float]
    now: Callable[[], float]
    """Wall clock, in seconds since the epoch. It may be set at any time."""
    uptime: Callable[[], float]
    """Seconds since the gateway booted. It never steps, and runs on while the gateway is suspended."""
    boot: str
    """Names the boot to which `uptime` refers."""
    is_synchronised: Callable[[], bool]
    """Whether somebody keeps the wall clock right, such as NTP. False if that is not known."""


@dataclass(frozen=True, slots=True)
class Message:
    """One event for the uplink."""

    body: bytes
    content_type: str
    properties: dict[str, str]
    readings: int
    message_id: str | None = None


class UplinkError(Exception):
    """The message may or may not have arrived. Send it again with the same ids."""


class MessageRefusedError(Exception):
    """The message can never be sent. The sender counts its readings as refused and goes on."""


class Uplink(Protocol):
    """Delivers messages to the hub, at least once."""

    async def connect(self) -> None:
        """Raises UplinkError if the hub can't be reached. May be called again."""
        ...

    async def lost(self) -> None:
        """Returns when the connection is lost. Never, for an uplink that makes one when it sends."""
        ...

    async def send(self, message: Message) -> None:
        """Returns once the hub has acknowledged. Raises UplinkError or MessageRefusedError. May be called concurrently."""
        ...

    async def close(self) -> None: ...


class Twin(Protocol):
    """The twin of the module or device, on the uplink's connection. All calls raise UplinkError."""

    async def desired(self) -> dict[str, Any]:
        """All desired properties, with `$version`."""
        ...

    async def report(self, reported: dict[str, Any]) -> None: ...

    async def on_change(self, changed: Callable[[], None]) -> None:
        """`changed` is called after each change of a desired property."""
        ...


def nothing() -> None:
    """Does nothing."""


@dataclass(frozen=True, slots=True)
class ModuleMessage:
    """What another module of the same gateway sent to this one."""

    input: str
    body: bytes
    content_type: str | None
    content_encoding: str | None
    properties: Mapping[str, str]
    """Set by the other module."""
    system: Mapping[str, str]
    """Set by the gateway's hub, such as which module it is (`$.cmid`)."""
    acknowledge: Callable[[], None] = field(default=nothing, compare=False)
    """Tells the hub that this process has it, and need not get it again."""


class Inputs(Protocol):
    """The inputs of this module, on the uplink's connection. The hub keeps a message until it is acknowledged."""

    def listening(self, name: str, take: Callable[[ModuleMessage], None]) -> AbstractContextManager[None]:
        """Within it `take` is called with each message of this input, and with some of those that nobody listens to."""
        ...

    async def subscribe(self) -> None:
        """Returns once messages come. May be called again. Raises UplinkError."""
        ...


@runtime_checkable
class Receiving(Protocol):
    """An uplink of a module, by which it also hears other modules."""

    @property
    def inputs(self) -> Inputs: ...


class Intake(Protocol):
    """Accepts the samples of one source."""

    def take(self, sample: Sample, position: str | None = None, *, initial: bool | None = None) -> None:
        """Keep the sample. `position`: how far the source has got with it; it is committed together with the reading.

        `initial`: whether it is the first one of a new subscription, which is left out if it repeats the last one that was
        kept; None for sources whose subscriptions don't begin with the last value.
        """
        ...

    def when_kept(self, call: Callable[[], None]) -> None:
        """Call it once the disk has what was taken before, or refuses it: then it is in memory only."""
        ...

    async def room(self) -> None:
        """Returns once there is room. For sources that can wait, such as files."""
        ...

    def position(self) -> str | None:
        """Where to resume: the position of the last reading that was taken; None if there is none."""
        ...

    def handed_over(self) -> str | None:
        """How far the replica had got that read this source last, if it was another one and has said so. The source may have
        nothing of the kind: then `position` counts."""
        ...

    def is_due(self) -> bool:
        """Whether it is this replica's turn to read. Sources that can wait read nothing while it is not: another replica
        reads, and what this one read would be dropped."""
        ...


class Source(Protocol):
    """Something that delivers samples."""

    @property
    def name(self) -> str: ...

    @property
    def is_up(self) -> bool:
        """False while it can't deliver, for example without a connection to its server."""
        ...

    async def run(self, intake: Intake) -> None:
        """Deliver until cancelled, reconnecting as needed. Returns only when the source has nothing more to deliver."""
        ...


@runtime_checkable
class Explaining(Protocol):
    """A source that says why it stands still, and what is wrong though it does not."""

    @property
    def problem(self) -> str | None:
        """Why it delivers nothing at the moment."""
        ...

    @property
    def notice(self) -> str | None:
        """What went wrong last and needs somebody's attention, though it delivers."""
        ...


@runtime_checkable
class Accountable(Explaining, Protocol):
    """A source that also says what it leaves out."""

    @property
    def skipped(self) -> Mapping[str, int]:
        """Numbers of lines or messages that became no readings, by reason; with all reasons that there may be."""
        ...

    @property
    def unacknowledged(self) -> int:
        """Number of messages that nobody would have sent again if they had been lost on the way (QoS 0)."""
        ...


@runtime_checkable
class Placed(Protocol):
    """A source that may be read at several places."""

    @property
    def place(self) -> str:
        """Where it is read now, such as an endpoint."""
        ...


class SourceConfigError(Exception):
    """The source can't be made as configured; the message says where and why."""


class WitnessAwayError(Exception):
    """The witness did not answer in time: whether the lease is held is unknown."""


class LeaseHeldError(Exception):
    """Another replica holds the lease."""


class LeaseState(Enum):
    HELD = "held"
    RELEASED = "released"
    """Its holder released it and continues until another replica has it, or it was never held."""
    EXPIRED = "expired"
    """Its holder disappeared without releasing it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a replica says of itself in its heartbeats."""

    name: str
    is_sender: bool
    """Whether it sends all that it reads."""
    holds: bool
    """Whether it has the lease, and its own view of it has not run out."""
    is_fit: bool
    """Whether it reads all its sources, and can send."""
    can_send: bool
    is_ready: bool
    """Whether what it holds back reaches over the whole overlap."""
    reads: frozenset[str]
    """Names of the sources that it can read."""
    positions: Mapping[str, str] = field(default_factory=dict)
    """How far it has got with sources that can wait; only what it has sent or committed."""


class Peers(Protocol):
    """The other replicas, on the plant's own network. What they say is proven to come from them, and to be new."""

    @property
    def problem(self) -> str | None:
        """Why nothing can be said or heard."""
        ...

    @property
    def refused(self) -> Mapping[str, int]:
        """Numbers of heartbeats that were not believed, by reason; with all reasons that there may be."""
        ...

    async def run(self, own: Callable[[], Standing], heard: Callable[[Standing], None], gone: Callable[[str], None]) -> None:
        """Say what `own` returns, again and again, and call `heard` with what others say, until cancelled. `gone` is called
        with the name of a replica whose machine says that nobody listens; where the system does not tell, it never is."""
        ...

    def announce(self) -> None:
        """Say it at once."""
        ...


class Witness(Protocol):
    """Gives a lease to one replica at a time. All calls raise WitnessAwayError."""

    async def acquire(self) -> None:
        """Hold the lease for its full length from now on, even if this holder already has it. Raises LeaseHeldError."""
        ...

    async def state(self) -> LeaseState:
        """State of the lease, whoever holds or held it."""
        ...

    async def renew(self) -> None:
        """Raises LeaseHeldError if the lease is lost."""
        ...

    async def release(self) -> None:
        """Release the lease, so that another replica may acquire it at once."""
        ...

    async def close(self) -> None: ...
