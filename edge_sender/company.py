"""Active-passive with peers: what replicas say to each other decides at once, and the witness settles it behind that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from edge_sender.buffering.inbox import Inbox
from edge_sender.election import Election
from edge_sender.ports import Peers, Standing
from edge_sender.turns import STEPS_PER_HEARTBEAT, Turns


class Company:
    """`standing`: what this replica says of itself."""

    def __init__(
        self,
        turns: Turns,
        peers: Peers,
        election: Election,
        inbox: Inbox,
        standing: Callable[[], Standing],
        heartbeat_seconds: float,
        monotonic: Callable[[], float],
    ) -> None:
        self.turns = turns
        self.peers = peers
        self._election = election
        self._inbox = inbox
        self._standing = standing
        self.heartbeat_seconds = heartbeat_seconds
        self._monotonic = monotonic
        self._is_leaving = False
        self._announced: Standing | None = None
        self._filling: frozenset[str] = frozenset()

    @property
    def heard(self) -> list[Standing]:
        """The peers that are heard at the moment."""
        return self.turns.alive(self._monotonic())

    @property
    def leaves_it(self) -> bool:
        """Whether another replica is heard that sends, and is to go on alone."""
        return self.turns.leaves_it(self._standing(), self._monotonic())

    def fills_in(self, source: str) -> bool:
        """Whether this replica sends this source although another one is the sender, which can't read it."""
        return source in self._filling

    async def run(self) -> None:
        talking = asyncio.create_task(self.peers.run(self.say, self.hear, self.gone))
        try:
            while not talking.done():
                await asyncio.sleep(self.heartbeat_seconds / STEPS_PER_HEARTBEAT)
                self.step()
            await talking
        finally:
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)

    def step(self) -> None:
        """Act on what was heard, and on what was not."""
        if not self._is_leaving:
            now, own = self._monotonic(), self._standing()
            self.turns.step(own, has_turn=self._election.has_turn, held_at=self._election.held_at, now=now)
            self._election.stand_in(stands_in=self.turns.stands_in)
            if self._election.has_turn and self.turns.leaves_it(self._standing(), now):
                self._election.leave_it()
            own = self._standing()
            self._filling = frozenset(
                name for name in own.reads if not own.is_sender and self.turns.fills_in(name, own, now)
            )
            self._inbox.release()
        self._announce_news()

    def leave(self) -> None:
        """This replica stops: another one should begin at once."""
        self._is_leaving = True
        self._announce_news()

    def say(self) -> Standing:
        own = self._standing()
        return replace(own, is_sender=False, holds=False, is_fit=False, can_send=False) if self._is_leaving else own

    def hear(self, peer: Standing) -> None:
        self.turns.hear(peer, self._monotonic())
        if peer.is_sender:
            for source, position in peer.positions.items():
                if not self._inbox.is_sending(source):
                    self._inbox.hand_over(source, position)

    def gone(self, name: str) -> None:
        self.turns.gone(name, self._monotonic())

    def _announce_news(self) -> None:
        """Without waiting for the next heartbeat."""
        news = replace(self.say(), positions={})
        if news != self._announced:
            self._announced = news
            self.peers.announce()
