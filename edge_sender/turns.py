"""Who sends, given what replicas say of themselves in their heartbeats. Pure: time comes in as an argument, in seconds.

Two senders are harmless, none is not. So a replica that no longer hears a sender sends at once (it *stands in*), and the
witness settles behind that who goes on. A replica that hears one that is as good leaves it to that one.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_sender.ports import Standing

MISSES = 3
"""A replica of which so many heartbeats in a row were not heard is taken for dead."""
GONE = 1.5
"""The same, if its machine says that it is not there."""
STEPS_PER_HEARTBEAT = 2
CALM_SECONDS = 600.0
"""Without a false alarm for so long, those of before are forgotten."""
MOST_ALARMS = 10
REQUEST_SHARE = 1 / 3
"""Of a lease: how long a renewal may have been on its way."""


@dataclass(frozen=True, slots=True)
class TurnsOptions:
    heartbeat_seconds: float
    lease_seconds: float

    @property
    def silence_seconds(self) -> float:
        return MISSES * self.heartbeat_seconds


def _unfitness(one: Standing) -> tuple[bool, bool]:
    return not one.can_send, not one.is_fit


def _rank(one: Standing) -> tuple[bool, bool, bool, str]:
    return *_unfitness(one), not one.holds, one.name


def _queue(one: Standing) -> tuple[bool, bool, bool, str]:
    """The order, known beforehand, in which replicas stand in."""
    return *_unfitness(one), not one.is_ready, one.name


def _resigns(before: Standing, now: Standing) -> bool:
    return (before.is_sender and not now.is_sender) or (before.can_send and not now.can_send)


class Turns:
    """What one replica has heard, and what follows for it. `own` is always what this replica says of itself."""

    def __init__(self, options: TurnsOptions, now: float) -> None:
        self.stands_in = False
        self.false_alarms = 0
        """In a row; each doubles the silence after which this replica stands in, up to the length of a lease."""
        self._options = options
        self._heard: dict[str, tuple[Standing, float]] = {}
        self._gone: dict[str, float] = {}
        """When a peer's machine said last that it is not there."""
        self._stepped = now
        self._sender_at: float | None = None
        """When a sender that is as good as this replica was last heard. None: no sender is missed."""
        self._last: str | None = None
        """That sender."""
        self._has_resigned = False
        self._alarm_at = now

    def hear(self, peer: Standing, now: float) -> None:
        before = self._heard.get(peer.name)
        if before is not None and peer.name == self._last and _resigns(before[0], peer):
            self._has_resigned = True
        self._heard[peer.name] = peer, now

    def gone(self, name: str, now: float) -> None:
        """The machine of this peer says that nobody listens there. Anybody can say so: it is believed only with a heartbeat
        that does not come."""
        self._gone[name] = now

    def _silence(self, name: str) -> float:
        """After how long without a heartbeat a peer is taken for dead."""
        is_gone = name in self._gone and self._gone[name] > self._heard[name][1]
        return GONE * self._options.heartbeat_seconds if is_gone else self._options.silence_seconds

    def alive(self, now: float) -> list[Standing]:
        """The peers that are heard."""
        return [peer for name, (peer, at) in self._heard.items() if now - at < self._silence(name)]

    def leaves_it(self, own: Standing, now: float) -> bool:
        """Whether another sender is heard that may do the work alone. Of two that send, the better one goes on, or the one
        with the lease, or the first by name. Who does not send does not begin while another one does as well."""
        senders = [peer for peer in self.alive(now) if peer.is_sender]
        if own.is_sender:
            return any(_rank(peer) < _rank(own) for peer in senders)
        return any(_unfitness(peer) <= _unfitness(own) for peer in senders)

    def fills_in(self, source: str, own: Standing, now: float) -> bool:
        """Whether this replica, which is not the sender, sends this source, because no sender that is heard can read it."""
        peers = self.alive(now)
        senders = [peer for peer in peers if peer.is_sender]
        if not senders or any(source in peer.reads for peer in senders):
            return False
        others = [peer for peer in peers if source in peer.reads]
        return not any((not peer.can_send, peer.name) < (not own.can_send, own.name) for peer in others)

    def step(self, own: Standing, *, has_turn: bool, held_at: float | None, now: float) -> None:
        """Decide whether to stand in. `has_turn`: whether the witness has settled that this replica sends. `held_at`: when
        the witness was last asked and answered that another replica holds the lease."""
        slept = now - self._stepped > self._options.silence_seconds / 2
        self._stepped = now
        if now - self._alarm_at > CALM_SECONDS:
            self.false_alarms = 0
        if has_turn:
            if self.stands_in:
                self.false_alarms = 0  # there was nobody else
            self._forget_sender()
            return
        if self.leaves_it(own, now):
            self._note_sender(now)
            return
        if self._sender_at is None:
            return
        if self.stands_in:
            self._step_back_if_another_lives(held_at, now)
        elif slept:
            self._sender_at = now  # what peers said meanwhile is still to be read
        elif now - self._sender_at >= self._patience(own, now):
            self.stands_in = True

    def _note_sender(self, now: float) -> None:
        if self.stands_in and any(peer.is_sender and peer.name == self._last for peer in self.alive(now)):
            self._raise_alarm(now)
        self.stands_in, self._has_resigned = False, False
        senders = [(at, peer.name) for peer, at in self._heard.values() if peer.is_sender]
        self._sender_at, self._last = max(senders)

    def _step_back_if_another_lives(self, held_at: float | None, now: float) -> None:
        """A lease that is held for longer than a dead sender's would be was renewed by somebody: the network between the
        replicas is cut, and this one is not needed."""
        lasts = self._options.lease_seconds * (1 + REQUEST_SHARE) + self._options.silence_seconds
        if held_at is not None and self._sender_at is not None and held_at - self._sender_at > lasts:
            self._raise_alarm(now)
            self._forget_sender()

    def _forget_sender(self) -> None:
        self.stands_in, self._sender_at, self._has_resigned = False, None, False

    def _raise_alarm(self, now: float) -> None:
        self.false_alarms, self._alarm_at = min(self.false_alarms + 1, MOST_ALARMS), now

    def _patience(self, own: Standing, now: float) -> float:
        """How long this replica waits for a sender: those before it in the order get the time of two heartbeats each."""
        before = sum(not peer.is_sender and _queue(peer) < _queue(own) for peer in self.alive(now))
        heartbeat = self._options.heartbeat_seconds
        usual = heartbeat if self._has_resigned or self._last is None else self._silence(self._last)
        return min(usual * float(2**self.false_alarms), self._options.lease_seconds) + 2 * before * heartbeat
