"""Active-passive: a lease on a witness decides which replica sends.

Keys are deterministic, so two senders at once cost only bandwidth, while no sender at all costs readings. A replica that
can't reach the witness therefore sends alone by default, unless it hears another one that sends. Where there must never be
two senders, `send_without_witness=False` fences: a replica accepts readings only while its own view of the lease, which ends
before the witness's, has not run out. It still delivers what it accepted before, because the others do not have it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from edge_sender.counters import Counters
from edge_sender.ports import LeaseHeldError, LeaseState, Witness, WitnessAwayError

logger = logging.getLogger(__name__)

T = TypeVar("T")

RENEWALS_PER_LEASE = 3
POLLS_TO_LEAVE_FREE = 5
"""For this many polls a replica leaves a free lease to others that may be better placed."""
MAX_PATIENCE_SECONDS = 600.0


class Role(StrEnum):
    ACTIVE = "active"
    """Holds the lease and sends."""
    PASSIVE = "passive"
    ALONE = "alone"
    """Has not heard from the witness for the length of a lease, and sends."""
    YIELDING = "yielding"
    """Can't read something or can't send, so that it leaves the lease to others. While no replica takes it, it sends what it
    reads."""
    STANDING_IN = "standing-in"
    """No longer hears the sender, and sends until the witness has settled who goes on."""


@dataclass(frozen=True, slots=True)
class ElectionOptions:
    lease_seconds: float
    poll_seconds: float
    send_without_witness: bool


class Election:
    """`is_fit`: whether this replica can do the work at the moment. One that can't offers the lease to the others and keeps
    what it reads until one of them has it, so that nothing is lost if none of them can do the work either: while the lease
    is free, all send what each of them reads. `is_ready`: whether it could also take over without a gap. One that could not
    leaves a free lease for a while to those that could. `leaves_it`: whether a peer is heard that sends, and is to go on
    alone. `on_step` is called after each step."""

    def __init__(
        self,
        options: ElectionOptions,
        witness: Witness,
        counters: Counters,
        monotonic: Callable[[], float],
        is_fit: Callable[[], bool],
        is_ready: Callable[[], bool],
        on_step: Callable[[], None],
        leaves_it: Callable[[], bool] = lambda: False,
    ) -> None:
        self.role = Role.PASSIVE
        self.options = options
        self._witness = witness
        self._counters = counters
        self._monotonic = monotonic
        self._is_fit = is_fit
        self._is_ready = is_ready
        self._on_step = on_step
        self._leaves_it = leaves_it
        self.held_at: float | None = None
        """When the witness was last asked and answered that another replica holds the lease."""
        self._heard = monotonic()
        """When the last request that the witness answered was sent."""
        self._lease_until = self._renew_at = self._yield_at = 0.0
        self._free_since: float | None = None
        self._patience = options.lease_seconds

    @property
    def holds(self) -> bool:
        """Whether this replica has the lease, by its own view, which ends before the witness's."""
        return self.role is Role.ACTIVE and self._monotonic() < self._lease_until

    @property
    def has_turn(self) -> bool:
        """Whether it sends by what it knows of the lease, not only because it stands in."""
        return self.role not in (Role.PASSIVE, Role.STANDING_IN)

    def stand_in(self, *, stands_in: bool) -> None:
        """Send from now on although another replica may have the lease, or leave it to that one."""
        if stands_in and self.role is Role.PASSIVE:
            self._become(Role.STANDING_IN, "the heartbeats of the replica that sends have stopped")
        elif not stands_in and self.role is Role.STANDING_IN:
            self._become(Role.PASSIVE, "another replica sends")

    def leave_it(self) -> None:
        """Another replica is heard that sends, and is to go on alone."""
        if self.role is not Role.PASSIVE and not self.holds:
            self._become(Role.PASSIVE, "another replica sends, as its heartbeats say")

    def is_sending(self) -> bool:
        """Checked for every reading, because a process that was frozen must not go on with a lease that has run out."""
        if self.role is Role.ACTIVE:
            return self.options.send_without_witness or self._monotonic() < self._lease_until
        return self.role is not Role.PASSIVE

    async def run(self) -> None:
        while True:
            await self.step()
            await asyncio.sleep(self.options.poll_seconds)

    async def step(self) -> None:
        """Send the witness the request that is due now, if any, and act on its answer."""
        try:
            await self._ask(self._monotonic())
        except WitnessAwayError as error:
            self._without_witness(error)
        self._on_step()

    async def _ask(self, asked: float) -> None:
        fit = self._is_fit()
        if fit:
            self._yield_at, self._patience = 0.0, self.options.lease_seconds
        if self.role is Role.ACTIVE and not fit and asked >= self._yield_at:
            await self._offer(asked)
        elif self.role is Role.ACTIVE and asked >= self._renew_at:
            await self._hold(self._witness.renew(), asked, "another replica has taken the lease")
        elif self.role is not Role.ACTIVE and self._leaves_it():
            await self._look(asked)
        elif self.role is not Role.ACTIVE and fit and (self.role is not Role.PASSIVE or self._is_ready()):
            await self._acquire(asked)
        elif self.role is not Role.ACTIVE:
            await self._acquire_if_others_do_not(asked, fit)

    async def _offer(self, asked: float) -> None:
        self._free_since = asked
        self._become(
            Role.YIELDING if self.options.send_without_witness else Role.PASSIVE,
            "this replica can't read or can't send at the moment and offers the lease to the others",
        )
        await self._answer(self._witness.release(), asked)

    async def _acquire(self, asked: float) -> None:
        await self._hold(self._witness.acquire(), asked, "another replica holds the lease")

    async def _look(self, asked: float) -> LeaseState:
        state = await self._answer(self._witness.state(), asked)
        if state is LeaseState.HELD:
            self._free_since, self.held_at = None, asked
            if self.role is not Role.STANDING_IN:
                self._become(Role.PASSIVE, "another replica holds the lease")
        return state

    async def _acquire_if_others_do_not(self, asked: float, fit: bool) -> None:
        """Acquire a free lease after a while. A fit replica acquires a released one at once: its last holder continues until
        then, so there is no gap to fill. One that is not fit never does: it sends what it reads, as all others do then, so
        that whatever one of them can read arrives."""
        state = await self._look(asked)
        if state is LeaseState.HELD:
            return
        self._free_since = asked if self._free_since is None else self._free_since
        waited = asked - self._free_since >= self.options.poll_seconds * POLLS_TO_LEAVE_FREE
        if not waited and not (fit and state is LeaseState.RELEASED):
            return
        if not fit and self.options.send_without_witness:
            self._become(Role.YIELDING, "no replica can do all the work: this one sends what it reads")
            return
        await self._acquire(asked)
        if self.role is Role.ACTIVE and not fit:  # no other replica wanted it: hold it longer each time
            self._yield_at = asked + self._patience
            self._patience = min(self._patience * 2, MAX_PATIENCE_SECONDS)

    async def _hold(self, call: Coroutine[Any, Any, None], asked: float, otherwise: str) -> None:
        """Count the lease from the time when the request was sent, so that the local view ends before the witness's."""
        try:
            await self._answer(call, asked)
        except LeaseHeldError:
            self.held_at = asked
            if self.role is not Role.STANDING_IN:
                self._become(Role.PASSIVE, otherwise)
            return
        self._lease_until = asked + self.options.lease_seconds
        self._renew_at = asked + self.options.lease_seconds / RENEWALS_PER_LEASE
        self._become(Role.ACTIVE, "this replica holds the lease")

    async def _answer(self, call: Coroutine[Any, Any, T], asked: float) -> T:
        try:
            async with asyncio.timeout(self.options.lease_seconds / RENEWALS_PER_LEASE):
                answer = await call
        except TimeoutError:
            raise WitnessAwayError("no answer in time") from None
        except LeaseHeldError:
            self._heard = asked
            raise
        self._heard = asked
        return answer

    def _without_witness(self, error: WitnessAwayError) -> None:
        now = self._monotonic()
        lease_left = self.role is Role.ACTIVE and now < self._lease_until
        if lease_left or now - self._heard < self.options.lease_seconds:
            return
        is_alone = self.options.send_without_witness and not self._leaves_it()
        role = Role.ALONE if is_alone else Role.PASSIVE
        self._become(role, f"the witness has not answered for {now - self._heard:.0f} s ({error})")

    def _become(self, role: Role, why: str) -> None:
        if role is self.role:
            return
        if self.role is Role.PASSIVE:
            self._counters.takeovers += 1
        logger.warning("now %s, was %s: %s", role, self.role, why)
        self.role = role

    async def close(self) -> None:
        """Release the lease, so that another replica need not wait until it ends."""
        try:
            if self.role is Role.ACTIVE:
                await self._witness.release()
        except WitnessAwayError as error:
            logger.info("the lease could not be released and will end by itself: %s", error)
        finally:
            await self._witness.close()
