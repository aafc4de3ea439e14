"""The benchmarks measure what they claim to: all events, by all processes, and nothing before or after."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.baselines import loop, running_loop, running_process
from benchmarks.draining import Sample, steady
from benchmarks.events import Load, input_log
from benchmarks.formats import groups_file
from benchmarks.kills import clean_ids, harm_of
from benchmarks.latency import latencies_ms, send
from benchmarks.peer_stage import options
from benchmarks.pictures import draw
from benchmarks.results import Curve, at_least, at_most
from benchmarks.senders import SENDERS
from benchmarks.stage import Server, delayed, running_hub, running_services, until_processed
from sandbox.hub.log import now_ms


@pytest.mark.parametrize(("batch", "kind"), [(1, "receive"), (20, "receive"), (1, "forward")])
async def test_a_baseline_sees_every_event_once(batch: int, kind: str) -> None:
    log = input_log(Load(2000, batch=batch))
    took = await loop(kind, log)
    assert took.events == sum(map(len, log.values()))
    assert took.cpu > 0


@pytest.mark.parametrize("batch", [1, 20])
async def test_a_drain_publishes_every_reading_once(batch: int, redis_url: str) -> None:
    load = Load(1000, batch=batch)
    log = input_log(load)
    namespace = f"bench-{batch}-{now_ms()}"
    async with running_hub(4) as hub, running_services(hub, redis_url, DEDUP_NAMESPACE=namespace) as (service,):
        await until_processed([service], hub.fill(log))
        assert await service.metric("dedup_clean_readings_total") == load.readings
        assert await service.metric("dedup_copies_total") == load.copies


@pytest.mark.parametrize(("batch", "way"), [(1, "single"), (20, "pipelined")])
async def test_the_naive_consumer_publishes_every_reading_once_while_nothing_kills_it(
    batch: int, way: str, redis_url: str
) -> None:
    load = Load(300, batch=batch)
    async with running_hub(4) as hub:
        events = hub.fill(input_log(load))
        with options(hub, Server(redis_url)) as variables:
            async with running_process(["benchmarks.naive", way], variables) as peer:
                peer.begin()
                assert (await peer.took()).events == events
        assert harm_of(load, clean_ids(hub)) == (0, 0)


@pytest.mark.parametrize("name", SENDERS)
async def test_a_drain_of_another_senders_format_publishes_every_reading_once(
    name: str, redis_url: str, tmp_path: Path
) -> None:
    load, (write, settings) = Load(500, batch=20), SENDERS[name]
    namespace, path = f"bench-{now_ms()}", str(groups_file(tmp_path, "groups", settings))
    async with (
        running_hub(4) as hub,
        running_services(hub, redis_url, DEDUP_NAMESPACE=namespace, DEDUP_CONFIG_FILE=path) as (service,),
    ):
        await until_processed([service], hub.fill(input_log(load, write)))
        assert await service.metric("dedup_clean_readings_total") == load.readings
        assert await service.metric("dedup_copies_total") == load.copies


async def test_latency_is_measured_for_every_winner(redis_url: str) -> None:
    async with running_hub(3) as hub, running_services(hub, redis_url, DEDUP_NAMESPACE=f"bench-{now_ms()}") as running:
        sent = await send(hub, rate=300, seconds=1.0)
        await until_processed(running, sent)
        latencies = latencies_ms(hub, since_ms=0)
        assert len(latencies) == sent / 3 == hub.published()
        assert min(latencies) >= 0


async def test_latency_of_the_bare_loop_is_measured_for_every_copy() -> None:
    async with running_hub(3) as hub, running_loop("forward", hub, 300, stamped=True) as process:
        process.begin()
        assert await send(hub, rate=300, seconds=1.0) == (await process.took()).events == 300
        latencies = latencies_ms(hub, since_ms=0)
        assert len(latencies) == hub.published() == 300
        assert min(latencies) >= 0


def test_only_the_steady_part_is_measured() -> None:
    """A slow start, a second of work in each step, and a slow end."""
    events = [0, 0, 20, 40, 60, 80, 100]
    times = [0.0, 50.0, 51.0, 52.0, 53.0, 54.0, 99.0]
    samples = [Sample(t, n, cpu=t, redis_cpu=t, hub_cpu=t, rss_bytes=n) for t, n in zip(times, events, strict=True)]
    took = steady(samples, 100)
    assert (took.events, took.seconds, took.cpu, took.rss_bytes) == (60, 3.0, 3.0, 100)
    with pytest.raises(ValueError, match="too short"):
        steady(samples[-1:] * 2, 100)


def test_every_curve_becomes_a_picture(tmp_path: Path) -> None:
    curve = Curve("growth", "Growth", "claims", "copies/s", [1, 10, 100], {"rate": [3.0, 2.0, 1.0]}, logarithmic=True)
    assert draw(curve, tmp_path).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("reached", "is_met"), [(2.0, True), (1.99, False)])
def test_a_target_is_met_or_missed_and_never_rounded(reached: float, is_met: bool) -> None:
    assert at_least("rate", 2.0, reached).is_met is is_met
    assert at_most("time", reached, 2.0).is_met is (reached >= 2.0)


async def test_a_distant_redis_answers_later(redis_url: str) -> None:
    from benchmarks.throughput import round_trip_ms

    server = await asyncio.to_thread(Server, redis_url)
    async with delayed(server, 0.02) as far:
        assert await round_trip_ms(far) >= 20 > await round_trip_ms(redis_url)
