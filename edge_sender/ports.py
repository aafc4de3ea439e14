"""What the sender needs from outside: clocks, sources of samples, an uplink and its twin, for active-passive a witness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from wire.ids import Sample


@dataclass(frozen=True, slots=True)
class Clocks:
    monotonic: Callable[[], float]
    now: Callable[[], float]
    """Wall clock, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Message:
    """One event for the uplink."""

    body: bytes
    content_type: str
    properties: dict[str, str]
    readings: int
    message_id: str | None = None


class UplinkError(Exception):
    """The message may or may not have arrived: send it again, with the same ids."""


class MessageRefusedError(Exception):
    """The message can never be sent; the sender counts its readings and goes on."""


class Uplink(Protocol):
    """Takes messages to the hub, at least once."""

    async def connect(self) -> None:
        """Raises UplinkError when the hub can't be reached; may be called again."""
        ...

    async def send(self, message: Message) -> None:
        """Returns when the hub has acknowledged. Raises UplinkError or MessageRefusedError. May run concurrently."""
        ...

    async def close(self) -> None: ...


class Twin(Protocol):
    """Of the module or device, on the uplink's connection. All calls raise UplinkError."""

    async def desired(self) -> dict[str, Any]:
        """All desired properties, with `$version`."""
        ...

    async def report(self, reported: dict[str, Any]) -> None: ...

    async def on_change(self, changed: Callable[[], None]) -> None:
        """`changed` is called after each change of a desired property."""
        ...


class Intake(Protocol):
    """Where a source's samples go. One for each source."""

    def take(self, sample: Sample, position: str | None = None) -> None:
        """Keep the sample. `position`: how far the source has come with it, committed together with the reading."""
        ...

    async def room(self) -> None:
        """Returns once there is room; for sources that can wait, such as files."""
        ...

    def position(self) -> str | None:
        """The position of the last reading that was committed, also before a restart."""
        ...


class Source(Protocol):
    """Something that delivers samples."""

    @property
    def name(self) -> str: ...

    @property
    def is_up(self) -> bool:
        """False while it can't deliver, for instance without connection to its server."""
        ...

    async def run(self, intake: Intake) -> None:
        """Deliver until cancelled; connects again by itself. Returns only when the source has no more to give."""
        ...


class SourceConfigError(Exception):
    """The source can't be made as it is configured; the message says where and why."""


class WitnessAwayError(Exception):
    """The witness did not answer in time: whether the lease is held is unknown."""


class LeaseHeldError(Exception):
    """Another replica holds the lease."""


class LeaseState(Enum):
    HELD = "held"
    RELEASED = "released"
    """Its holder gave it away, and goes on until another replica has it; or nobody ever had it."""
    EXPIRED = "expired"
    """Its holder went away without a word."""


class Witness(Protocol):
    """Gives a lease to one replica at a time. All calls raise WitnessAwayError."""

    async def acquire(self) -> None:
        """Hold the lease for its length from now on; also if this holder has it already. Raises LeaseHeldError."""
        ...

    async def state(self) -> LeaseState:
        """Of the lease, whoever had it."""
        ...

    async def renew(self) -> None:
        """Raises LeaseHeldError when it is lost."""
        ...

    async def release(self) -> None:
        """Another replica may have it at once."""
        ...

    async def close(self) -> None: ...
