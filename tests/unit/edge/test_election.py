"""Active-passive: who sends when, with a witness and a clock that the test controls."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from edge_sender.counters import Counters
from edge_sender.election import Election, ElectionOptions
from edge_sender.ports import LeaseHeldError, LeaseState, WitnessAwayError

LEASE = 15.0
POLL = 1.0


@dataclass
class World:
    now: float = 1000.0
    holder: str | None = None
    until: float = 0.0
    cut: set[str] = field(default_factory=set)
    """Replicas that can't reach the witness."""


@dataclass
class FakeWitness:
    """Like a blob lease: the holder may acquire again, and a lease that ran out may be renewed while no one else has it."""

    world: World
    replica: str

    def _reach(self) -> None:
        if self.replica in self.world.cut:
            raise WitnessAwayError("cut")

    async def acquire(self) -> None:
        self._reach()
        if self.world.holder not in (None, self.replica) and self.world.now < self.world.until:
            raise LeaseHeldError
        self.world.holder, self.world.until = self.replica, self.world.now + LEASE

    async def state(self) -> LeaseState:
        self._reach()
        if self.world.holder is None:
            return LeaseState.RELEASED
        return LeaseState.HELD if self.world.now < self.world.until else LeaseState.EXPIRED

    async def renew(self) -> None:
        self._reach()
        if self.world.holder != self.replica:
            raise LeaseHeldError
        self.world.until = self.world.now + LEASE

    async def release(self) -> None:
        self._reach()
        if self.world.holder == self.replica:
            self.world.holder = None

    async def close(self) -> None:
        return


@dataclass
class Replica:
    world: World
    name: str
    is_fit: bool = True
    is_ready: bool = True
    is_running: bool = True
    send_without_witness: bool = True

    def __post_init__(self) -> None:
        options = ElectionOptions(LEASE, POLL, self.send_without_witness)
        witness = FakeWitness(self.world, self.name)
        self.counters = Counters()
        self.election = Election(
            options, witness, self.counters, lambda: self.world.now, lambda: self.is_fit, lambda: self.is_ready, lambda: None
        )

    @property
    def is_sending(self) -> bool:
        return self.is_running and self.election.is_sending()


async def advance(world: World, replicas: list[Replica], seconds: float) -> list[list[str]]:
    """The replicas that sent, at every poll."""
    sent = []
    for _ in range(int(seconds / POLL)):
        world.now += POLL
        for replica in replicas:
            if replica.is_running:
                await replica.election.step()
        sent.append([replica.name for replica in replicas if replica.is_sending])
    return sent


def make(*names: str, **options: bool) -> tuple[World, list[Replica]]:
    world = World()
    return world, [Replica(world, name, **options) for name in names]


async def test_exactly_one_replica_sends() -> None:
    world, replicas = make("a", "b", "c")
    assert all(sending == ["a"] for sending in await advance(world, replicas, 100))


async def test_another_takes_over_when_the_lease_of_a_dead_replica_ends() -> None:
    world, (a, b) = make("a", "b")
    await advance(world, [a, b], 30)
    a.is_running = False
    sent = await advance(world, [a, b], 30)
    silent = sent.index(["b"])
    assert LEASE / 3 * 2 <= silent <= LEASE + POLL
    assert all(sending == ["b"] for sending in sent[silent:])
    assert b.counters.takeovers == 1


async def test_a_replica_that_stops_in_order_releases_the_lease() -> None:
    world, (a, b) = make("a", "b")
    await advance(world, [a, b], 5)
    await a.election.close()
    a.is_running = False
    assert (await advance(world, [a, b], 1)) == [["b"]]


async def test_a_restarted_replica_gets_its_own_lease_back_at_once() -> None:
    world, (a, b) = make("a", "b")
    await advance(world, [a, b], 5)
    again = Replica(world, "a")
    assert all(sending == ["a"] for sending in await advance(world, [b, again], 20))


async def test_a_replica_that_cannot_work_hands_over_without_a_gap() -> None:
    world, (a, b) = make("a", "b")
    await advance(world, [a, b], 5)
    a.is_fit = False
    sent = await advance(world, [a, b], 60)
    assert all(sending for sending in sent)
    assert sent[-1] == ["b"]
    assert sent.index(["b"]) <= 8


async def test_when_none_can_work_one_of_them_keeps_what_it_reads() -> None:
    """The hub is unreachable for all: readings are kept, and the lease does not change hands all the time."""
    world, (a, b) = make("a", "b")
    await advance(world, [a, b], 5)
    a.is_fit = b.is_fit = False
    sent = await advance(world, [a, b], 3600)
    assert all(sending for sending in sent)
    assert a.counters.takeovers + b.counters.takeovers < 30
    a.is_fit = b.is_fit = True
    assert all(len(sending) == 1 for sending in (await advance(world, [a, b], 100))[10:])


@pytest.mark.parametrize("cut", [{"a"}, {"b"}, {"a", "b"}], ids=["from-a", "from-b", "from-both"])
async def test_without_the_witness_some_replica_sends_at_every_moment(cut: set[str]) -> None:
    world, (a, b) = make("a", "b")
    await advance(world, [a, b], 5)
    world.cut = cut
    assert all(sending for sending in await advance(world, [a, b], 60))
    world.cut = set()
    assert all(len(sending) == 1 for sending in (await advance(world, [a, b], 40))[2:])


@pytest.mark.parametrize("cut", [{"a"}, {"b"}, {"a", "b"}], ids=["from-a", "from-b", "from-both"])
async def test_with_fencing_two_replicas_never_send_at_once(cut: set[str]) -> None:
    world, (a, b) = make("a", "b", send_without_witness=False)
    await advance(world, [a, b], 5)
    world.cut = cut
    sent = await advance(world, [a, b], 60)
    assert all(len(sending) <= 1 for sending in sent)
    if cut == {"a", "b"}:
        assert not any(sent[20:])
    world.cut = set()
    assert all(len(sending) == 1 for sending in (await advance(world, [a, b], 40))[2:])


async def test_a_process_that_was_frozen_does_not_go_on_with_a_lease_that_has_run_out() -> None:
    world, (a, b) = make("a", "b", send_without_witness=False)
    await advance(world, [a, b], 5)
    await advance(world, [b], LEASE + 2)  # a is frozen meanwhile
    assert (a.is_sending, b.is_sending) == (False, True)
    assert (await advance(world, [a, b], 10))[-1] == ["b"]


async def test_a_restarted_replica_leaves_the_lease_to_one_that_can_take_over_without_a_gap() -> None:
    """With overlap: what the other replica holds back covers the time in which no replica sent."""
    world, (a, b) = make("a", "b")
    await advance(world, [a, b], 5)
    a.is_running = False
    again = Replica(world, "a2", is_ready=False)
    sent = await advance(world, [again, b], 30)
    assert [sending for sending in sent if sending][:1] == [["b"]]
    assert sent[-1] == ["b"]


async def test_when_all_replicas_are_new_one_of_them_starts_at_once() -> None:
    world, replicas = make("a", "b", is_ready=False)
    assert await advance(world, replicas, 2) == [["a"], ["a"]]


async def test_a_new_replica_takes_over_from_one_that_offers_the_lease() -> None:
    """The one that offers it continues until then, so there is no gap to fill."""
    world, (a, b) = make("a", "b")
    await advance(world, [a, b], 5)
    b.is_ready = a.is_fit = False
    sent = await advance(world, [a, b], 5)
    assert all(sent)
    assert sent[-1] == ["b"]


async def test_when_only_new_replicas_are_left_one_of_them_starts_soon_after_the_lease_ends() -> None:
    world, (a, b) = make("a", "b")
    await advance(world, [a, b], 5)
    a.is_running = b.is_ready = False
    sent = await advance(world, [a, b], LEASE + 10)
    assert sent[-1] == ["b"]


async def test_an_unfit_replica_does_not_take_a_free_lease_from_a_fit_one() -> None:
    world, (a, b) = make("a", "b")
    a.is_fit = False
    assert (await advance(world, [a, b], 20))[-1] == ["b"]
    assert a.counters.takeovers <= 1
