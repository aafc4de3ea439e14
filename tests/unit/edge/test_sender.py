"""The edge sender: R2, retries that reuse ids, bounded memory, a spool that survives, an orderly stop."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from edge_sender.buffering import backoff, store
from edge_sender.buffering import delivery as module
from edge_sender.buffering.batcher import BatchLimits
from edge_sender.buffering.inbox import Inbox, IntakeOptions
from edge_sender.buffering.salvage import SpoolFile
from edge_sender.buffering.spool import Spool
from edge_sender.buffering.spool_values import SpoolError, SpoolLimits
from edge_sender.clocks import system_clocks
from edge_sender.counters import Counters, SourceTally
from edge_sender.election import ElectionOptions
from edge_sender.identity.readings import Reading, make_reading
from edge_sender.identity.rules import parse_rules
from edge_sender.observability.telemetry import SenderCollector, make_registry, problems, status
from edge_sender.ports import Clocks, Intake, LeaseState, Message, MessageRefusedError, SourceConfigError, UplinkError
from edge_sender.sender import ConfiguredSource, Sender, SenderOptions
from tests.support.clocks import GatewayClocks
from tests.support.files import MACHINES, file_source
from tests.support.senders import until
from wire.ids import Sample

LIMITS = SpoolLimits(10_000_000, 3600, "drop-oldest")


@dataclass
class FakeSource:
    name: str = "fake"
    is_up: bool = True
    intake: Intake | None = None

    async def run(self, intake: Intake) -> None:
        self.intake = intake
        await asyncio.Event().wait()


@dataclass
class FakeUplink:
    attempts: list[Message] = field(default_factory=list)
    delivered: list[Message] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def connect(self) -> None:
        await self.gate.wait()

    async def lost(self) -> None:
        await asyncio.Event().wait()

    async def send(self, message: Message) -> None:
        await self.gate.wait()
        self.attempts.append(message)
        if self.failures:
            raise self.failures.pop(0)
        self.delivered.append(message)

    async def close(self) -> None:
        return

    @property
    def numbers(self) -> list[int]:
        """Sequence numbers of what was delivered, in order."""
        return [data["sequence"] for message in self.delivered for data in payloads(message)]


def payloads(message: Message) -> list[Any]:
    body = json.loads(message.body)
    return [part["data"] for part in body] if isinstance(body, list) else [body]


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST_SECONDS", 0.001)
    monkeypatch.setattr(backoff, "MOST_SECONDS", 0.001)


def make(
    uplink: FakeUplink,
    *,
    batch: int = 1,
    memory: int = 1000,
    spool: SpoolFile | None = None,
    flush_seconds: float = 5.0,
    when_full: Any = "drop-oldest",
    election: ElectionOptions | None = None,
    witness: Any = None,
) -> tuple[Sender, FakeSource]:
    options = SenderOptions(
        IntakeOptions(memory, when_full, 0.0), LIMITS, 0.001, BatchLimits(batch, 4096, 0.01), 4, flush_seconds, election
    )
    source = FakeSource()
    ruled = ConfiguredSource(source, parse_rules("sequence"), "t")
    return Sender(options, [ruled], spool or spool_file(None), uplink, system_clocks(), witness), source


def spool_file(path: Path | None) -> SpoolFile:
    return SpoolFile(path, LIMITS, system_clocks())


def reading(number: int) -> Reading:
    return make_reading(sample(number), parse_rules("sequence"), "t")


def sample(number: int) -> Sample:
    return Sample("urn:a", number, {"sequence": number})


async def play(sender: Sender, source: FakeSource, count: int, until: Callable[[], bool]) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(sender.run(stop))
    async with asyncio.timeout(60):
        while source.intake is None:
            await asyncio.sleep(0)
        for number in range(count):
            source.intake.take(sample(number))
        while not until():
            await asyncio.sleep(0.001)
        stop.set()
        await running


async def test_a_retry_sends_the_same_bytes_and_ids() -> None:
    uplink = FakeUplink(failures=[UplinkError("lost"), UplinkError("lost")])
    uplink.gate.set()
    sender, source = make(uplink)
    await play(sender, source, 1, lambda: bool(uplink.delivered))
    assert uplink.attempts == [uplink.delivered[0]] * 3
    assert (sender.counters.retries, sender.counters.sent_readings) == (2, 1)


async def test_a_lost_connection_is_made_again_while_there_is_nothing_to_send() -> None:
    class Losing(FakeUplink):
        connections = 0

        async def connect(self) -> None:
            self.connections += 1
            if self.connections in (2, 3):
                raise UplinkError("the hub is away")

        async def lost(self) -> None:
            if self.connections > 1:
                await asyncio.Event().wait()

    uplink = Losing()
    sender, source = make(uplink)
    seen: list[bool] = []

    def is_back() -> bool:
        seen.append(sender.delivery.uplink_is_up)
        return uplink.connections == 4

    await play(sender, source, 0, is_back)
    assert False in seen
    assert sender.delivery.uplink_is_up


async def test_an_acknowledgement_that_is_late_is_told_before_the_send_has_failed() -> None:
    class Connected(FakeUplink):
        async def connect(self) -> None:
            return

    uplink, now = Connected(), [0.0]
    told: list[bool] = []
    sender, source = make(uplink)
    delivery = sender.delivery
    delivery._monotonic = lambda: now[0]

    def is_done() -> bool:
        if delivery._waiting_since and not told:
            told.append(delivery.can_send)
            now[0] += module.LATE_SECONDS + 0.1
            told.append(delivery.can_send)
            uplink.gate.set()
        return bool(uplink.delivered)

    await play(sender, source, 1, is_done)
    assert told == [True, False]
    assert (delivery.uplink_is_up, delivery.can_send) == (True, True)
    delivery._waiting_since[0] = now[0]
    now[0] += module.LATE_SHARE * module.LATE_SECONDS
    assert delivery.can_send, "the line is slow, as it was"


async def test_readings_taken_before_the_uplink_is_up_are_sent_in_order() -> None:
    uplink = FakeUplink()
    sender, source = make(uplink, batch=7)

    def open_gate() -> bool:
        uplink.gate.set()
        return len(uplink.numbers) == 50

    await play(sender, source, 50, open_gate)
    assert uplink.numbers == list(range(50))


async def test_stopping_sends_what_is_kept() -> None:
    uplink = FakeUplink()
    uplink.gate.set()
    sender, source = make(uplink, batch=1000)
    await play(sender, source, 5, lambda: True)
    assert uplink.numbers == list(range(5))


async def test_what_a_stop_leaves_is_sent_by_the_next_run_with_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    dead, uplink = FakeUplink(), FakeUplink()
    sender, source = make(dead, spool=spool_file(path), flush_seconds=0.05)
    await play(sender, source, 5, lambda: True)
    assert dead.delivered == []
    uplink.gate.set()
    sender, source = make(uplink, spool=spool_file(path))
    await play(sender, source, 0, lambda: len(uplink.delivered) == 5)
    assert uplink.numbers == list(range(5))
    assert spool_file(path).open().readings == 0


class SlowUplink(FakeUplink):
    """Records how many sends are in progress at once."""

    under_way = 0
    most: list[int]

    async def send(self, message: Message) -> None:
        self.under_way += 1
        self.most.append(self.under_way)
        await asyncio.sleep(0.001)
        try:
            await super().send(message)
        finally:
            self.under_way -= 1


async def test_while_the_uplink_is_down_only_one_message_probes_it() -> None:
    uplink = SlowUplink(failures=[UplinkError("lost")] * 20)
    uplink.most = []
    uplink.gate.set()
    sender, source = make(uplink)
    await play(sender, source, 30, lambda: len(uplink.delivered) == 30)
    assert max(uplink.most[:4]) == 4  # no send has failed yet
    assert max(uplink.most[7:20]) == 1


async def test_a_message_that_can_never_be_sent_is_given_up_and_counted() -> None:
    uplink = FakeUplink(failures=[MessageRefusedError("too large")])
    uplink.gate.set()
    sender, source = make(uplink)
    await play(sender, source, 3, lambda: len(uplink.delivered) == 2)
    assert (sender.counters.dropped["refused"], sender.counters.sent_readings) == (1, 2)
    assert sender.store.readings == 0


async def test_a_reading_without_identity_is_counted_and_not_sent() -> None:
    uplink = FakeUplink()
    uplink.gate.set()
    sender, source = make(uplink)

    def take_bad() -> bool:
        assert source.intake is not None
        source.intake.take(Sample("urn:a", 1, {"no": "sequence"}))
        source.intake.take(Sample("urn:a", 1, {"sequence": 1, "value": float("nan")}))
        return True

    await play(sender, source, 0, take_bad)
    assert sender.counters.dropped["no-identity"] == 2
    assert uplink.delivered == []


@dataclass(frozen=True)
class FailingFile(SpoolFile):
    """A disk that fails until the test says otherwise."""

    failing: set[str] = field(default_factory=lambda: {"commit"})

    def open(self) -> Spool:
        if "open" in self.failing:
            raise SpoolError("disk I/O error")
        return FailingSpool(self.path, self.limits, self.clocks, self.failing)


class FailingSpool(Spool):
    def __init__(self, path: Path | None, limits: SpoolLimits, clocks: Clocks, failing: set[str]) -> None:
        super().__init__(path, limits, clocks)
        self._failing = failing

    def commit(self, *arguments: Any, **options: Any) -> Any:
        if "commit" in self._failing:
            raise SpoolError("disk I/O error")
        return super().commit(*arguments, **options)


async def test_a_failing_disk_is_bypassed() -> None:
    uplink = FakeUplink()
    uplink.gate.set()
    spool = FailingFile(None, LIMITS, system_clocks())
    sender, source = make(uplink, spool=spool)
    await play(sender, source, 20, lambda: len(uplink.delivered) == 20)
    assert sorted(uplink.numbers) == list(range(20))
    assert sender.store.is_failing
    assert any("disk" in problem for problem in problems(sender))


async def test_a_spool_that_cannot_be_opened_is_bypassed_and_opened_later_with_all_that_it_knows(tmp_path: Path) -> None:
    """A read-only disk at the start. A source that resumes waits for its place, or it would begin with all old readings."""
    earlier, source = make(FakeUplink(), spool=spool_file(tmp_path / "s.db"), flush_seconds=0)
    await play(earlier, source, 5, lambda: earlier.store.readings == 5 and earlier.store.size > 0)
    uplink = FakeUplink()
    uplink.gate.set()
    spool = FailingFile(tmp_path / "s.db", LIMITS, system_clocks(), {"open"})
    sender, source = make(uplink, spool=spool)
    files = FakeSource("files")
    sender.sources = [*sender.sources, ConfiguredSource(files, parse_rules("sequence"), "t", resumes=True)]

    def is_done() -> bool:
        if sender.counters.sent_readings == 3 and spool.failing:
            assert files.intake is None
            assert any("disk I/O error" in problem for problem in problems(sender))
            assert status(sender)["spool"]["problem"] == "disk I/O error"
            spool.failing.clear()
        return len(uplink.delivered) == 8 and files.intake is not None

    await play(sender, source, 3, is_done)
    assert sorted(uplink.numbers) == sorted([*range(5), *range(3)])
    assert problems(sender) == []


async def test_a_spool_that_takes_long_to_open_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread is busy with the disk; health, sources and delivery go on."""
    monkeypatch.setattr(store, "ANSWER_SECONDS", 0.05)
    is_open = threading.Event()

    @dataclass(frozen=True)
    class SlowFile(SpoolFile):
        def open(self) -> Spool:
            assert is_open.wait(30)
            return super().open()

    uplink = FakeUplink()
    uplink.gate.set()
    sender, source = make(uplink, spool=SlowFile(None, LIMITS, system_clocks()))
    assert status(sender)["spool"]["readings"] == 0

    def is_done() -> bool:
        if len(uplink.delivered) == 5 and not is_open.is_set():
            assert any(store.NO_ANSWER in problem for problem in problems(sender))
            is_open.set()
        return sender.store.opened.is_set()

    await play(sender, source, 5, is_done)
    assert sorted(uplink.numbers) == [*range(5)]


@pytest.mark.parametrize(("when_full", "kept"), [("drop-oldest", range(15, 25)), ("drop-newest", range(10))])
async def test_full_memory_drops_by_the_policy_and_counts(when_full: Any, kept: range) -> None:
    uplink = FakeUplink()
    spool = FailingFile(None, LIMITS, system_clocks())
    sender, source = make(uplink, memory=10, spool=spool, when_full=when_full)

    def mend() -> bool:
        spool.failing.clear()
        uplink.gate.set()
        return len(uplink.delivered) == 10

    await play(sender, source, 25, mend)
    assert sender.counters.dropped["memory-full"] == 15
    assert sorted(uplink.numbers) == list(kept)


async def test_what_is_put_back_stays_within_the_memorys_bound() -> None:
    spool = FailingFile(None, LIMITS, system_clocks())
    sender, _ = make(FakeUplink(), memory=10, spool=spool)
    for number in range(8):
        sender.inbox.take("fake", reading(number), None)
    readings = list(sender.inbox.pending)
    sender.inbox.pending.clear()
    for number in range(8, 16):
        sender.inbox.take("fake", reading(number), None)
    sender.inbox.put_back(readings)
    assert [json.loads(kept.data)["sequence"] for kept in sender.inbox.pending] == list(range(6, 16))
    assert sender.counters.dropped["memory-full"] == 6


@pytest.mark.parametrize(("overlap", "expected"), [(10.0, [*range(15, 26)]), (0.0, [25])])
def test_a_passive_replica_holds_back_what_it_sends_when_it_takes_over(overlap: float, expected: list[int]) -> None:
    clock, sending = [0.0], [False]
    inbox = Inbox(IntakeOptions(1000, "drop-oldest", overlap), Counters(), lambda: clock[0], lambda _: sending[0])
    for number in range(25):
        inbox.take("fake", reading(number), None)
        clock[0] += 1
    assert not inbox.pending
    sending[0] = True
    inbox.take("fake", reading(25), None)
    assert [json.loads(kept.data)["sequence"] for kept in inbox.pending] == expected


async def test_what_waited_too_long_is_not_sent_even_if_a_send_was_in_progress() -> None:
    """A service that has forgotten its key would publish it again."""
    gateway = GatewayClocks()
    uplink = FakeUplink()
    sender, source = make(uplink, spool=SpoolFile(None, LIMITS, gateway.clocks))

    def time_passes() -> bool:
        if sender.store.readings == 6 and sender.store.size:
            gateway.elapse(LIMITS.max_age_seconds + 1)
            uplink.failures = [UplinkError("still down")] * 4
            uplink.gate.set()
        return sender.counters.dropped["too-old"] == 6

    await play(sender, source, 6, time_passes)
    assert uplink.delivered == []
    assert sender.store.readings == 0


async def test_a_defect_of_the_uplink_does_not_cost_the_reading() -> None:
    uplink = FakeUplink(failures=[KeyError("a defect"), RuntimeError("another")])
    uplink.gate.set()
    sender, source = make(uplink)
    await play(sender, source, 1, lambda: bool(uplink.delivered))
    assert sender.counters.dropped.total() == 0


async def test_a_message_that_always_meets_a_defect_does_not_block_the_others_forever() -> None:
    uplink = FakeUplink(failures=[KeyError("a defect")] * module.MAX_DEFECTS)
    uplink.gate.set()
    sender, source = make(uplink)
    await play(sender, source, 1, lambda: sender.counters.dropped["refused"] == 1)
    assert uplink.delivered == []


async def test_a_stopping_replica_releases_the_lease_before_it_sends_what_it_has() -> None:
    """Its uplink may be dead, and another replica should not have to wait until it gives up."""
    told: list[str] = []

    class Witness:
        async def acquire(self) -> None:
            told.append("acquired")

        async def renew(self) -> None:
            return

        async def state(self) -> LeaseState:
            return LeaseState.RELEASED

        async def release(self) -> None:
            told.append("released")

        async def close(self) -> None:
            return

    class Slow(FakeUplink):
        async def send(self, message: Message) -> None:
            if "acquired" in told and "stopping" in told:
                told.append("sent")
            await super().send(message)

    uplink = Slow()
    sender, source = make(uplink, election=ElectionOptions(15.0, 0.01, True), witness=Witness())

    def stopping() -> bool:
        if "acquired" not in told:
            return False
        if "stopping" not in told:
            told.append("stopping")
            uplink.gate.set()
        return True

    await play(sender, source, 3, stopping)
    assert told.index("released") < told.index("sent")


@dataclass
class Broken(FakeSource):
    """Delivers one reading each time, and fails."""

    runs: int = 0

    async def run(self, intake: Intake) -> None:
        self.runs += 1
        intake.take(sample(self.runs))
        raise RuntimeError("a defect")


async def test_a_source_that_breaks_is_started_again_while_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_sender.reading.AGAIN_SECONDS", 0.1)
    broken, uplink, path = Broken("broken"), FakeUplink(), tmp_path / "spool.db"
    sender, source = make(uplink, spool=spool_file(path), flush_seconds=0)
    sender.sources = [ConfiguredSource(broken, parse_rules("sequence"), "t"), *sender.sources]

    seen: list[str] = []

    def has_run_again() -> bool:
        seen.extend(problems(sender))
        return broken.runs >= 3

    await play(sender, source, 1, has_run_again)
    assert "the source broken is down: RuntimeError('a defect')" in seen
    assert spool_file(path).open().readings == broken.runs + 1


def options_of(sender: Sender, **changes: Any) -> SenderOptions:
    given = SenderOptions(sender.inbox.options, LIMITS, 0.001, BatchLimits(1, 4096, 0.01), 4, 5.0)
    return replace(given, **changes)


def made(source: FakeSource, config: str) -> ConfiguredSource:
    return ConfiguredSource(source, parse_rules("sequence"), "t", made_from=config)


async def changing(sender: Sender, change: Callable[[], Awaitable[None]]) -> None:
    """Run the sender, and change it while it runs."""
    stop = asyncio.Event()
    running = asyncio.create_task(sender.run(stop))
    try:
        async with asyncio.timeout(60):
            await change()
    finally:
        stop.set()
        await running


@dataclass
class Counted(FakeSource):
    starts: int = 0
    ends: int = 0

    async def run(self, intake: Intake) -> None:
        self.starts += 1
        try:
            await super().run(intake)
        finally:
            self.ends += 1


async def test_a_change_restarts_only_what_is_another_one() -> None:
    uplink = FakeUplink()
    uplink.gate.set()
    sender, _ = make(uplink)
    stays, goes, comes = Counted("stays"), Counted("goes"), Counted("comes")
    sender.sources = [made(stays, "1"), made(goes, "2")]

    async def change() -> None:
        await until(lambda: stays.starts == 1, "it is not started")
        await sender.change(
            options_of(sender, batch=BatchLimits(7, 4096, 60), max_in_flight=1),
            [made(Counted("stays"), "1"), made(comes, "3")],
        )
        assert [item.name for item in sender.sources] == ["stays", "comes"]
        assert (stays.starts, stays.ends) == (1, 0)
        assert (goes.starts, goes.ends) == (1, 1)
        assert (comes.starts, comes.ends) == (1, 0)
        assert stays.intake is not None
        for number in range(7):
            stays.intake.take(sample(number))
        await until(lambda: len(uplink.delivered) == 1, "the new size of batches is not in force")

    await changing(sender, change)
    assert uplink.numbers == list(range(7))


async def test_a_change_that_fails_at_its_start_leaves_all_as_it_was() -> None:
    sender, _ = make(FakeUplink(), flush_seconds=0)
    replaced, other = Counted("one"), Counted("other")
    sender.sources = [made(replaced, "1"), made(other, "2")]

    async def change() -> None:
        with pytest.raises(SourceConfigError, match="the source one: RuntimeError"):
            await sender.change(
                options_of(sender, commit_seconds=9.0), [made(Broken("one"), "3"), made(Counted("new"), "4")]
            )
        assert [item.source for item in sender.sources] == [replaced, other]
        await until(lambda: replaced.starts == 2, "the former source is not started again")
        assert (replaced.ends, other.starts, other.ends) == (1, 1, 0)
        assert sender.store.commit_seconds != 9.0
        assert problems(sender) == []

    await changing(sender, change)


async def test_metrics_and_status_show_what_a_source_left_out_and_why_it_stands_still(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("time,machine\nx,a\n2026-01-01T00:00:00Z,a\n2026-01-01T00:00:00,a\n")
    source = file_source(path, **MACHINES)
    uplink = FakeUplink()
    sender, _ = make(uplink)
    sender.sources = [ConfiguredSource(source, parse_rules("source-time"), "t")]
    uplink.gate.set()
    stop = asyncio.Event()
    running = asyncio.create_task(sender.run(stop))
    await until(lambda: source.problem is not None, "it is not refused")
    skipped = make_registry(sender).get_sample_value("edge_source_skipped_total", {"source": "file", "reason": "line"})
    assert skipped == 1
    (shown,) = status(sender)["sources"]
    assert shown["skipped"] == {"line": 1}
    assert f"{path} line 4: the time has no offset" in shown["problem"]
    assert any("line 4" in problem for problem in problems(sender))
    stop.set()
    await running


async def test_metrics_and_status_show_what_a_source_could_not_read() -> None:
    sender, _ = make(FakeUplink())
    tally = SourceTally(
        subscribed=7,
        notifiers=3,
        clock_offset_seconds=-0.25,
        clock_steps=2,
        left_out={f"urn:{n}": "BadNodeIdUnknown" for n in range(200)},
    )
    tally.revised = {"queue_size 1 instead of 10": 3, "queue_size 5 instead of 10": 2, "lifetime 1 s instead of 2 s": 1}
    tally.count("gap", 4)
    tally.count("repeated")
    assert [tally.trouble(f"urn:{n % 150}", "why") for n in range(300)].count(True) == 100
    sender.sources = [ConfiguredSource(FakeSource(), parse_rules("sequence"), "t", tally=tally)]
    registry = make_registry(sender)
    for name, labels, value in (
        ("edge_source_losses_total", {"reason": "gap"}, 4),
        ("edge_source_losses_total", {"reason": "overflow"}, 0),
        ("edge_source_clock_offset_seconds", {}, -0.25),
        ("edge_source_clock_steps_total", {}, 2),
        ("edge_source_skipped_total", {"reason": "repeated"}, 1),
        ("edge_source_variables", {"state": "subscribed"}, 7),
        ("edge_source_variables", {"state": "left-out"}, 200),
        ("edge_source_notifiers", {}, 3),
        ("edge_source_revised", {"parameter": "queue_size"}, 5),
    ):
        assert registry.get_sample_value(name, {"source": "fake", **labels}) == value
    sender.counters.restarts["fake"].note("untimed", "urn:1", "went back")
    assert registry.get_sample_value("edge_counter_restarts_total", {"source": "fake", "reason": "untimed"}) == 1
    assert registry.get_sample_value("edge_counter_restarts_total", {"source": "fake", "reason": "restarted"}) == 0
    shown = status(sender)["sources"][0]
    assert shown["notifiers"] == 3
    assert shown["clock"] == {"offset_seconds": -0.25, "steps": 2}
    assert shown["counter_restarts"] == {"restarted": 0, "untimed": 1, "sources": {"urn:1": "went back"}}
    assert (shown["variables"], len(shown["left_out"])) == ({"subscribed": 7, "left_out": 200}, 100)
    assert (shown["lost"]["gap"], shown["revised"], len(shown["troubled"])) == (4, tally.revised, 100)


async def test_metrics_and_status_show_what_was_counted() -> None:
    uplink = FakeUplink()
    uplink.gate.set()
    sender, source = make(uplink)
    await play(sender, source, 3, lambda: len(uplink.delivered) == 3)
    registry = make_registry(sender)
    assert registry.get_sample_value("edge_readings_total", {"source": "fake"}) == 3
    assert registry.get_sample_value("edge_readings_sent_total") == 3
    assert registry.get_sample_value("edge_role", {"role": "active"}) == 1
    documented = set(re.findall(r"`(edge_\w+)", (Path(__file__).parents[3] / "docs" / "edge.md").read_text()))
    shown_metrics = {
        family.name + ("_total" if family.type == "counter" else "") for family in SenderCollector(sender).collect()
    }
    assert documented == shown_metrics
    shown = status(sender)
    assert (shown["sent"]["readings"], shown["spool"]["readings"], shown["problems"]) == (3, 0, [])
