"""Replicas that hear each other, in a simulated plant: real elections, inboxes and decisions; a network, a witness,
machines, processes and a clock that the test controls."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from edge_sender.buffering.inbox import Inbox, IntakeOptions
from edge_sender.company import Company
from edge_sender.counters import Counters
from edge_sender.election import Election, ElectionOptions, Role
from edge_sender.identity.readings import Reading as Made
from edge_sender.identity.readings import make_reading
from edge_sender.identity.rules import parse_rules
from edge_sender.ports import Standing
from edge_sender.turns import Turns, TurnsOptions
from tests.unit.edge.test_election import LEASE, POLL, FakeWitness, World
from wire.ids import Sample

HEARTBEAT = 0.2
STEP = HEARTBEAT / 2
OVERLAP = 30.0
SOURCES = ("x", "y")
RULES = parse_rules("sequence")
Reading = tuple[str, int]


@dataclass
class Line:
    """A replica's end of the network."""

    deliver: Callable[[Standing], None]
    own: Callable[[], Standing] | None = None
    problem: str | None = None
    refused: Mapping[str, int] = field(default_factory=dict)

    async def run(self, own: Callable[[], Standing], heard: Callable[[Standing], None], gone: Callable[[str], None]) -> None:
        raise NotImplementedError("the test calls say and hear")

    def announce(self) -> None:
        if self.own is not None:
            self.deliver(self.own())


class Replica:
    def __init__(self, plant: Plant, name: str) -> None:
        self.plant, self.name = plant, name
        self.is_running, self.is_frozen = True, False
        self.down: set[str] = set()
        self.can_send = True
        self.is_late = False
        """Whether its hub has not acknowledged what it sent, and it goes on trying."""
        self.lives = 0
        self.start()

    def start(self) -> None:
        self.is_running = True
        self.lives += 1
        self.roles: list[Role] = []
        self.began = self.plant.world.now
        counters, options = Counters(), ElectionOptions(LEASE, POLL, send_without_witness=True)
        witness = FakeWitness(self.plant.world, f"{self.name}/{self.lives}")
        self.election = Election(
            options, witness, counters, self.now, self.is_fit, self.is_ready, self.release, lambda: self.company.leaves_it
        )
        self.inbox = Inbox(IntakeOptions(100_000, "drop-oldest", OVERLAP), counters, self.now, self.is_sending)
        line = Line(lambda standing: self.plant.send(self, standing))
        turns = Turns(TurnsOptions(HEARTBEAT, LEASE), self.now())
        self.company = Company(turns, line, self.election, self.inbox, self.standing, HEARTBEAT, self.now)
        line.own = self.company.say

    def now(self) -> float:
        return self.plant.world.now

    def is_fit(self) -> bool:
        return self.can_send and not self.down

    def is_ready(self) -> bool:
        return self.now() - self.began >= OVERLAP

    def release(self) -> None:
        self.inbox.release()

    def is_sending(self, source: str) -> bool:
        return self.election.is_sending() or self.company.fills_in(source)

    def standing(self) -> Standing:
        return Standing(
            self.name,
            self.election.is_sending(),
            self.election.holds,
            self.is_fit(),
            self.can_send and not self.is_late,
            self.is_ready(),
            frozenset(SOURCES) - self.down,
        )

    @property
    def works(self) -> bool:
        return self.is_running and not self.is_frozen

    def take(self, key: Reading, reading: Made) -> None:
        self.inbox.take(key[0], reading, None)
        self.plant.read[key].append((self.name, self.lives))

    async def step(self, tick: int) -> None:
        if tick % round(POLL / STEP) == 0:
            await self.election.step()
        self.company.step()
        if tick % 2 == 0:
            self.company.peers.announce()
        for reading in self.inbox.pending:
            data = json.loads(reading.data)
            self.plant.sent[data["source"], data["sequence"]].append(self.name)
        self.inbox.pending.clear()
        self.inbox.arrived.clear()
        if not self.roles or self.roles[-1] is not self.election.role:
            self.roles.append(self.election.role)


class Plant:
    def __init__(self, *names: str) -> None:
        self.world = World()
        self.cut: set[frozenset[str]] = set()
        self.loss = 0.0
        self.random = random.Random(7)
        self.read: dict[Reading, list[tuple[str, int]]] = {}
        self.sent: dict[Reading, list[str]] = {}
        self.tick = 0
        self.replicas = {name: Replica(self, name) for name in names}

    def send(self, sender: Replica, standing: Standing) -> None:
        for peer in self.replicas.values():
            if peer is sender or not peer.works or frozenset({sender.name, peer.name}) in self.cut:
                continue
            if self.random.random() >= self.loss:
                peer.company.hear(standing)

    async def play(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP)):
            self.tick += 1
            self.world.now += STEP
            for source in SOURCES:
                key = (source, self.tick)
                self.read[key], self.sent[key] = [], []
                sample = Sample(source, self.tick, {"sequence": self.tick, "source": source})
                reading = make_reading(sample, RULES, "t")
                for replica in self.replicas.values():
                    if replica.works and source not in replica.down:
                        replica.take(key, reading)
            for replica in self.replicas.values():
                if replica.works:
                    await replica.step(self.tick)

    def senders(self) -> list[str]:
        return [name for name, one in self.replicas.items() if one.works and one.election.is_sending()]

    def lost(self, since: int = 0) -> list[Reading]:
        """Readings that a replica has read which still runs, and that none has sent."""
        lives = {(one.name, one.lives) for one in self.replicas.values() if one.is_running}
        return [key for key, by in self.read.items() if key[1] >= since and set(by) & lives and not self.sent[key]]

    def copies(self, first: int) -> float:
        sent = [len(names) for key, names in self.sent.items() if key[1] >= first]
        return sum(sent) / len(sent)


async def settled(*names: str) -> Plant:
    plant = Plant(*names)
    await plant.play(OVERLAP + 10)
    assert len(plant.senders()) == 1
    return plant


async def until_sending(plant: Plant, wanted: list[str], limit: float) -> float:
    """Seconds until exactly these send."""
    began = plant.world.now
    while plant.senders() != wanted:
        await plant.play(STEP)
        assert plant.world.now - began < limit, (plant.senders(), wanted)
    return plant.world.now - began


async def test_in_calm_one_sends_and_there_is_one_copy() -> None:
    plant = await settled("a", "b", "c")
    first = plant.tick + 1
    await plant.play(120)
    assert plant.copies(first) == 1.0
    assert {one.company.turns.false_alarms for one in plant.replicas.values()} == {0}


async def test_a_dead_sender_is_replaced_after_three_missed_heartbeats_and_nothing_is_lost() -> None:
    plant = await settled("a", "b", "c")
    plant.replicas["a"].is_running = False
    seconds = await until_sending(plant, ["b"], 5)
    assert 3 * HEARTBEAT <= seconds <= 4 * HEARTBEAT + STEP
    first = plant.tick + 1
    await plant.play(60)
    assert plant.lost() == []
    assert plant.replicas["b"].election.role is Role.ACTIVE
    assert plant.copies(first) == 1.0


@pytest.mark.parametrize("dead", ["a", "ab"])
async def test_the_order_of_those_that_stand_in_is_known(dead: str) -> None:
    plant = await settled("a", "b", "c", "d")
    for name in dead:
        plant.replicas[name].is_running = False
    await until_sending(plant, ["c" if "b" in dead else "b"], 5)
    await plant.play(30)
    assert len(plant.senders()) == 1
    assert plant.lost() == []


async def test_one_that_stops_in_order_is_replaced_at_the_next_heartbeat() -> None:
    plant = await settled("a", "b")
    a = plant.replicas["a"]
    await a.election.close()
    a.company.leave()
    a.is_running = False
    assert await until_sending(plant, ["b"], 5) <= 2 * HEARTBEAT
    assert plant.lost() == []


async def test_peers_that_are_cut_off_do_not_flap_while_the_witness_says_that_the_sender_lives() -> None:
    plant = await settled("a", "b")
    plant.cut = {frozenset("ab")}
    await plant.play(2 * LEASE)
    b = plant.replicas["b"]
    assert (plant.senders(), b.roles[-3:]) == (["a"], [Role.PASSIVE, Role.STANDING_IN, Role.PASSIVE])
    changes, first = len(b.roles), plant.tick + 1
    await plant.play(400)
    assert (len(b.roles), plant.copies(first)) == (changes, 1.0)
    plant.replicas["a"].is_running = False  # and the lease still does what it did
    await plant.play(LEASE + 10)
    assert plant.senders() == ["b"]
    assert plant.lost() == []


async def test_a_bad_network_costs_ever_fewer_false_alarms() -> None:
    plant = await settled("a", "b", "c")
    plant.loss = 0.5
    await plant.play(400)
    changes = sum(len(one.roles) for one in plant.replicas.values())
    assert changes < 60
    assert plant.lost() == []


async def test_cut_off_from_the_witness_replicas_that_hear_each_other_send_one_copy() -> None:
    plant = await settled("a", "b", "c")
    plant.world.cut = {f"{name}/1" for name in "abc"}
    await plant.play(5)
    first = plant.tick + 1
    await plant.play(120)
    assert plant.copies(first) == 1.0
    plant.world.cut = set()
    await plant.play(60)
    assert len(plant.senders()) == 1


async def test_what_any_replica_can_read_arrives_once_when_each_lacks_something() -> None:
    plant = await settled("a", "b", "c")
    plant.replicas["a"].down, plant.replicas["b"].down, plant.replicas["c"].down = {"x"}, {"y"}, {"x", "y"}
    await plant.play(10)
    first = plant.tick + 1
    await plant.play(120)
    assert plant.lost() == []
    assert plant.copies(first) == 1.0


async def test_without_peers_too_what_any_replica_can_read_arrives() -> None:
    plant = Plant("a", "b")
    plant.cut = {frozenset("ab")}
    await plant.play(OVERLAP + 10)
    plant.replicas["a"].down, plant.replicas["b"].down = {"x"}, {"y"}
    await plant.play(400)
    assert plant.lost() == []
    assert sum(len(one.roles) for one in plant.replicas.values()) < 10
    plant.replicas["a"].down = set()
    await plant.play(30)
    assert plant.senders() == ["a"]


async def test_a_sender_that_cannot_send_is_replaced_by_one_that_can() -> None:
    plant = await settled("a", "b")
    plant.replicas["a"].can_send = False
    assert await until_sending(plant, ["b"], 5) <= 2.0
    plant.replicas["a"].can_send = True
    await plant.play(120)
    assert plant.senders() == ["b"]


async def test_one_whose_hub_does_not_answer_is_helped_at_once_and_goes_on_when_it_does() -> None:
    plant = await settled("a", "b")
    a, b = plant.replicas["a"], plant.replicas["b"]
    alarms: list[int] = []
    for _ in range(3):
        a.is_late = True
        assert await until_sending(plant, ["a", "b"], 5) <= 2 * HEARTBEAT * 2 ** len(alarms) + STEP
        a.is_late = False
        await until_sending(plant, ["a"], 1)
        alarms.append(b.company.turns.false_alarms)
    assert alarms == [1, 2, 3], "each false alarm makes it more patient"
    assert plant.lost() == []


async def test_two_that_lost_the_same_hub_do_not_take_turns() -> None:
    plant = await settled("a", "b")
    a, b = plant.replicas["a"], plant.replicas["b"]
    a.is_late = True
    await until_sending(plant, ["a", "b"], 5)
    b.is_late = True
    await until_sending(plant, ["a"], 1)
    changes = len(b.roles)
    await plant.play(60)
    assert len(b.roles) == changes


async def test_a_machine_that_says_that_its_process_is_gone_is_believed_when_the_next_heartbeat_is_missing() -> None:
    plant = await settled("a", "b")
    b = plant.replicas["b"].company
    for _ in range(100):  # anybody could say so
        b.gone("a")
        await plant.play(STEP)
    assert plant.senders() == ["a"]
    plant.replicas["a"].is_running = False
    await plant.play(STEP)
    b.gone("a")
    assert await until_sending(plant, ["b"], 5) <= 2 * HEARTBEAT
    assert plant.lost() == []


async def test_a_process_that_was_frozen_leaves_it_to_its_successor_at_once() -> None:
    plant = await settled("a", "b")
    plant.replicas["a"].is_frozen = True
    await plant.play(LEASE + 10)
    plant.replicas["a"].is_frozen = False
    await until_sending(plant, ["b"], 1.0)


FAULTS = ("crash", "freeze", "network", "loss", "witness", "source", "uplink")


async def one_fault(plant: Plant, rng: random.Random) -> Callable[[], None]:
    """Brings one about; returns what ends it."""
    one, kind = rng.choice(list(plant.replicas.values())), rng.choice(FAULTS)
    source = rng.choice(SOURCES)
    match kind:
        case "crash" if all(other.works and other.is_ready() for other in plant.replicas.values()):
            one.is_running = False
            return one.start
        case "freeze" if all(other.works for other in plant.replicas.values()):
            one.is_frozen = True
            return lambda: setattr(one, "is_frozen", False)
        case "network":
            other = rng.choice([name for name in plant.replicas if name != one.name])
            plant.cut = plant.cut | {frozenset({one.name, other})}
            return lambda: setattr(plant, "cut", set())
        case "loss":
            plant.loss = rng.choice([0.1, 0.4, 0.8])
            return lambda: setattr(plant, "loss", 0.0)
        case "witness":
            names = {f"{name}/{number}" for name in plant.replicas for number in range(30) if rng.random() < 0.7}
            plant.world.cut = names
            return lambda: setattr(plant.world, "cut", set())
        case "source":
            one.down = {source}
            return lambda: setattr(one, "down", set())
        case "uplink":
            one.can_send = False
            return lambda: setattr(one, "can_send", True)
    return lambda: None


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_fails_together_what_anybody_reads_arrives_and_calm_returns(seed: int) -> None:
    rng = random.Random(seed)
    names = "abc" if seed % 2 else "ab"
    plant = await settled(*names)
    for _ in range(4):
        ends = []
        for _ in range(rng.randint(1, 4)):
            ends.append(await one_fault(plant, rng))
            await plant.play(rng.choice([0.1, 0.7, 3, 10]))
        await plant.play(rng.choice([1, 20, 60]))
        for end in ends:
            end()
        await plant.play(rng.choice([1, 45]))
    plant.loss = 0.0
    await plant.play(3 * LEASE + OVERLAP)
    assert len(plant.senders()) == 1
    first = plant.tick + 1
    roles = Counter({name: len(one.roles) for name, one in plant.replicas.items()})
    await plant.play(60)
    assert plant.lost() == []
    assert plant.copies(first) == 1.0
    assert Counter({name: len(one.roles) for name, one in plant.replicas.items()}) == roles
