"""How many nodes one request may name: what the server says, and what it turned out to accept."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from asyncua import ua

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

MOST_PER_CALL = 1000
"""Also where the server allows more or says nothing: S7 controllers accept 1,000."""
LEAST_AFTER_LOSS = 16
GROW_AFTER = 10
"""So many answered requests that were as large as is allowed after a loss may be followed by larger ones."""
TOO_MUCH = frozenset(
    {
        ua.StatusCodes.BadTooManyOperations,
        ua.StatusCodes.BadRequestTooLarge,
        ua.StatusCodes.BadResponseTooLarge,
        ua.StatusCodes.BadEncodingLimitsExceeded,
        ua.StatusCodes.BadTcpMessageTooLarge,
        ua.StatusCodes.BadTcpNotEnoughResources,
        ua.StatusCodes.BadOutOfMemory,
        ua.StatusCodes.BadResourceUnavailable,
        ua.StatusCodes.BadTooManyMonitoredItems,
        ua.StatusCodes.BadTimeout,
    }
)
"""Answers to a whole request that a smaller one may not get."""
ONE_NODE = frozenset(
    {
        ua.StatusCodes.BadInternalError,
        ua.StatusCodes.BadUnexpectedError,
        ua.StatusCodes.BadDecodingError,
        ua.StatusCodes.BadEncodingError,
        ua.StatusCodes.BadNodeIdInvalid,
        ua.StatusCodes.BadNodeIdUnknown,
    }
)
"""Answers to a whole request that a single one of its nodes may have caused. All others need another session."""


class Service(StrEnum):
    READ = "MaxNodesPerRead"
    BROWSE = "MaxNodesPerBrowse"
    MONITOR = "MaxMonitoredItemsPerCall"


@dataclass(frozen=True, slots=True)
class Refused:
    """Stands for the result of one node, if the server's answer about it can't be had."""

    why: str
    code: int = 0
    """The status code of the whole answer, 0 if it could not be decoded."""


@dataclass(slots=True)
class Doubt:
    """Whether a request was lost because it was too large."""

    lost: int
    """How many nodes it named."""
    size: int
    """How many the next ones may."""
    answered: int = 0
    """Requests of that size that were answered since."""


@dataclass(slots=True)
class Limits:
    """Kept across connections: what a server once refused, it will refuse again."""

    most: dict[Service, int] = field(default_factory=lambda: dict.fromkeys(Service, MOST_PER_CALL))
    doubts: dict[Service, Doubt] = field(default_factory=dict)

    def size(self, service: Service) -> int:
        """How many nodes the next request may name."""
        doubt = self.doubts.get(service)
        return self.most[service] if doubt is None else min(self.most[service], doubt.size)

    def declare(self, declared: Mapping[Service, object]) -> None:
        """Take over what the server says; 0 and anything else than a number are no limit. (OPC 10000-5, 6.3.11)"""
        for service, limit in declared.items():
            if isinstance(limit, int) and limit > 0:
                self.most[service] = min(self.most[service], limit)

    def refuse(self, service: Service, size: int) -> None:
        """A request for `size` nodes was too much, as the server says."""
        self.most[service] = min(self.most[service], max(1, size // 2))
        logger.info("requests of %d nodes are too much for the server; from now on %d", size, self.most[service])

    def lose(self, service: Service, size: int) -> None:
        """The connection, or the answer, was lost with a request for `size` nodes. Some servers do that instead of saying
        that it is too much, and so do networks. It was too much if it happens again once requests have grown back."""
        if size <= LEAST_AFTER_LOSS:
            return
        half, doubt = max(LEAST_AFTER_LOSS, size // 2), self.doubts.get(service)
        if doubt is not None and size >= doubt.lost:
            del self.doubts[service]
            self.most[service] = min(self.most[service], half)
            logger.info("requests of %d nodes are lost again and again; from now on %d", size, half)
        else:
            self.doubts[service] = Doubt(size, half)

    def answer(self, service: Service, size: int) -> None:
        """A request for `size` nodes was answered."""
        doubt = self.doubts.get(service)
        if doubt is None or size < min(doubt.size, self.most[service]):
            return
        if size >= min(doubt.lost, self.most[service]):
            del self.doubts[service]
            return
        doubt.answered += 1
        if doubt.answered == GROW_AFTER:
            doubt.size, doubt.answered = min(2 * doubt.size, doubt.lost), 0


async def in_parts(
    limits: Limits, service: Service, items: Sequence[T], call: Callable[[Sequence[T]], Awaitable[Sequence[R]]]
) -> list[R | Refused]:
    """Call with as many items at once as the server accepts; one result for each item, in order.

    An item whose answer can't be decoded costs itself: its request is repeated in halves until it is alone. Raises what a
    lost connection or session raises.
    """
    results: list[R | Refused] = []
    while len(results) < len(items):
        part = items[len(results) : len(results) + limits.size(service)]
        try:
            results += await _call(part, call)
            limits.answer(service, len(part))
        except ua.UaStatusCodeError as error:
            if len(part) > 1 and error.code in TOO_MUCH:
                limits.refuse(service, len(part))
            elif error.code == ua.StatusCodes.BadTooManyMonitoredItems:
                rest = len(items) - len(results)  # the server is full, and need not be asked for each
                results += [Refused(name_of(error.code), error.code)] * rest
            elif error.code in TOO_MUCH | ONE_NODE:
                results += await _halves(limits, service, part, call, Refused(name_of(error.code), error.code))
            else:
                raise
        except (OSError, TimeoutError):
            limits.lose(service, len(part))
            raise
        except Exception as error:  # noqa: BLE001  # whatever the library raises for an answer that it can't decode
            refused = Refused(f"the answer can't be decoded: {type(error).__name__}")
            results += await _halves(limits, service, part, call, refused)
    return results


async def _call(part: Sequence[T], call: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> Sequence[R]:
    results = await call(part)
    if len(results) != len(part):
        raise ua.UaError(f"{len(results)} results for {len(part)} nodes")
    return results


async def _halves(
    limits: Limits,
    service: Service,
    part: Sequence[T],
    call: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
    refused: Refused,
) -> list[R | Refused]:
    if len(part) == 1:
        return [refused]
    half = len(part) // 2
    return [
        *await in_parts(limits, service, part[:half], call),
        *await in_parts(limits, service, part[half:], call),
    ]


def name_of(code: int) -> str:
    """The name of a status code, such as `BadNodeIdUnknown`."""
    return str(ua.StatusCode(code).name)
