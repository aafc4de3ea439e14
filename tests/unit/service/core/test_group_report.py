"""A group's traps are counted, with one example each, however many sources there are."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest

from dedup_service.commands.report import as_json, as_text
from dedup_service.core.group_report import MAX_EXAMPLES, Deployment, GroupReport, group_report
from dedup_service.core.source_report import source_report
from dedup_service.core.times import rfc3339
from dedup_service.core.traps import TrapKind
from tests.support.copies import DEPLOYMENT, NOW_MS, Copies
from wire.formats.recognise import SHAPES

NAMES = {0: "edge-0", 1: "edge-1"}


async def report_of(copies: Copies, sources: list[str], recognised: dict[str, int] | None = None) -> GroupReport:
    found = [source_report(source, await copies.counts(source), 0, NAMES) for source in sources]
    return group_report(found, Counter(recognised or {}), DEPLOYMENT)


async def plant(count: int) -> tuple[Copies, list[str]]:
    """Half the sources match, a quarter is stamped twice, a quarter has the gateway's name in it."""
    copies, sources = Copies(), []
    for n in range(count // 4):
        good, better, stamped = (f"urn:{name}-{n}" for name in ("good", "better", "stamped"))
        named = [f"Plant/Press-{gateway}/tag{n}" for gateway in "AB"]
        sources += [good, better, stamped, *named]
        for k in range(21):
            for replica in (0, 1):
                at = NOW_MS + 1000 * k
                for source in (good, better):
                    await copies.deliver(replica, str(k), at, k, source)
                await copies.deliver(replica, f"{k}/{replica}", at + 40 * replica, k, stamped)
                await copies.deliver(replica, str(k), at, k, named[replica])
    return copies, sources


@pytest.fixture(scope="module")
def big() -> GroupReport:
    async def made() -> GroupReport:
        return await report_of(*await plant(800), {"opc-publisher-samples": 2114, "cloudevents-without-id": 1})

    return asyncio.run(made())


def test_a_thousand_sources_make_two_traps(big: GroupReport) -> None:
    assert [(trap.kind, trap.sources, trap.replicas) for trap in big.traps] == [
        (TrapKind.ONE_SEGMENT, 400, ("edge-0", "edge-1")),
        (TrapKind.CONSTANT_OFFSET, 200, ("edge-1",)),
    ]
    assert big.traps[0].example == "Plant/Press-A/tag0"
    assert '{"Press-*": "Press"}' in big.traps[0].text


def test_the_text_begins_with_what_is_wrong_and_ends_with_the_table(big: GroupReport) -> None:
    head, table = as_text({"presses": big}, 24).split("\n\n")
    assert head.splitlines()[:4] == [
        "group presses of namespace plant-7, mode observe, last 24 h: 1,000 sources",
        f"  2,114 messages look like OPC Publisher's Samples; {SHAPES['opc-publisher-samples'].remedy}",
        "  1 message looks like CloudEvents without an id; let the sender give each event its id",
        "  600 of 1,000 sources can't be deduplicated as they are sent now.",
    ]
    assert [line[:40] for line in head.splitlines()[4:]] == [
        "  - 400 sources, such as Plant/Press-A/tag0: only"[:40],
        "  - 200 sources, such as urn:stamped-0: can't"[:40],
    ]
    assert len(table.splitlines()) == 1001


def test_programs_get_the_same(big: GroupReport) -> None:
    report = json.loads(as_json({"presses": big}))["presses"]
    assert report["recognised"][0] == {
        "looks_like": "OPC Publisher's Samples",
        "messages": 2114,
        "format": "opc-publisher",
        "remedy": "set `format: opc-publisher` for this group in DEDUP_CONFIG_FILE",
    }
    assert [(trap["kind"], trap["sources"]) for trap in report["traps"]] == [("one-segment", 400), ("constant-offset", 200)]
    assert len(report["sources"]) == 1000
    assert report["sources"][2]["trap"]["kind"] == "constant-offset"
    assert report["sources"][0]["trap"] is None


def test_a_group_that_only_sends_unknown_formats_is_told_so() -> None:
    text = as_text({"g": group_report([], Counter({"telegraf": 3}), DEPLOYMENT)}, 1)
    assert "3 messages look like Telegraf's JSON; set `format: telegraf`" in text
    assert "nothing was measured" not in text
    assert "nothing was measured" in as_text({"g": group_report([], Counter(), DEPLOYMENT)}, 1)


async def test_names_of_devices_can_not_move_the_cursor() -> None:
    copies = Copies()
    sources = ["p/\x1b[2JA/t", "p/\x1b[2JB/t"]
    for n in range(30):
        for replica, source in enumerate(sources):
            await copies.deliver(replica, str(n), NOW_MS + n, n, source)
    text = as_text({"g": await report_of(copies, sources)}, 1)
    assert "differ in one segment" in text
    assert "\x1b" not in text


async def test_a_report_of_a_time_that_redis_forgot_in_part_says_so() -> None:
    copies = Copies()
    for n in range(30):
        await copies.deliver(0, str(n), NOW_MS + n, n, "urn:a")
        if n % 2:
            await copies.deliver(1, str(n), NOW_MS + n, n, "urn:a")
    report = source_report("urn:a", await copies.counts("urn:a"), 0, NAMES, complete=False)
    assert {item.coverage for item in report.replicas} == {None}
    assert report.verdict == "50% have a second copy"
    text = as_text({"g": group_report([report], Counter(), DEPLOYMENT, NOW_MS)}, 1)
    assert f"figures since {rfc3339(NOW_MS)} (Redis forgot what it had counted before)" in text
    assert "incomplete" in text.splitlines()[-1]
    whole = as_text({"g": group_report([report], Counter(), DEPLOYMENT)}, 1)
    assert "figures since" not in whole


async def some(good: int, alone: int, single: int) -> GroupReport:
    """Sources that match, that one replica sends, and that have one reading each."""
    copies, sources = Copies(), []
    for n in range(good + alone):
        sources.append(source := f"urn:{'good' if n < good else 'alone'}-{n}x{n * 7919}")
        for k in range(30):
            for replica in (0, 1) if n < good else (0,):
                await copies.deliver(replica, str(k), NOW_MS + k, k, source)
    for n in range(single):
        sources.append(source := f"urn:single-{n}x{n * 7919}")
        for replica in (0, 1):
            await copies.deliver(replica, "0", NOW_MS, 0, source)
    return await report_of(copies, sources)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((2, 0, 0), ["  Every source can be deduplicated."]),
        ((1, 1, 0), ["  1 of 2 sources is undecided; the others can be deduplicated.", "  - 1 source urn:alone-1x7919: "]),
        ((0, 0, 1), ["  1 of 1 source is undecided.", "  - 1 source urn:single-0x0: only one reading so far"]),
        (
            (1, 5, 2),
            [
                "  7 of 8 sources are undecided; the others can be deduplicated.",
                "  - 5 sources, such as urn:alone-1x7919, urn:alone-2x15838, urn:alone-3x23757: only one replica",
                "  - 2 sources, such as urn:single-0x0, urn:single-1x7919: only one reading so far",
            ],
        ),
    ],
    ids=str,
)
async def test_what_is_undecided_is_said_with_a_few_examples_and_the_reason(
    counts: tuple[int, int, int], said: list[str]
) -> None:
    report = await some(*counts)
    lines = as_text({"g": report}, 1).split("\n\n")[0].splitlines()[1:]
    assert [line[: len(start)] for line, start in zip(lines, said, strict=True)] == said
    for_programs = json.loads(as_json({"g": report}))["g"]["undecided"]
    expected = {"one-sender": counts[1], "one-reading": counts[2]}
    assert {item["reason"]: item["sources"] for item in for_programs} == {name: n for name, n in expected.items() if n}
    assert all(len(item["examples"]) == min(item["sources"], MAX_EXAMPLES) for item in for_programs)


async def test_a_headline_that_all_is_well_does_not_pass_over_conflicts() -> None:
    copies = Copies()
    for k in range(30):
        for replica in (0, 1):
            await copies.deliver(replica, str(k), NOW_MS + k, k if k else replica, "urn:a")
    text = as_text({"g": await report_of(copies, ["urn:a"])}, 1)
    said = "  Every source can be deduplicated, but copies of 1 source urn:a differ in content (conflicts).\n"
    assert said in text


async def test_what_is_undecided_stands_beside_what_is_impossible() -> None:
    copies = Copies()
    for k in range(30):
        await copies.deliver(0, str(k), NOW_MS + k, k, "urn:alone")
        for replica in (0, 1):
            await copies.deliver(replica, f"{k}/{replica}", NOW_MS + 1000 * k, k, "urn:other")
    text = as_text({"g": await report_of(copies, ["urn:alone", "urn:other"])}, 1)
    assert "  1 of 2 sources can't be deduplicated as they are sent now.\n  - 1 source urn:other: " in text
    assert "\n  1 of 2 sources is undecided.\n  - 1 source urn:alone: " in text
    assert "Every source" not in text


@pytest.mark.parametrize(
    ("deployment", "head"),
    [
        (Deployment("dd12", "observe", "observe"), ["group g of namespace dd12, mode observe, last 1 h: 0 sources"]),
        (
            Deployment("dd12", None, "drop"),
            ["group g of namespace dd12, mode drop (as set for this command; no pod runs), last 1 h: 0 sources"],
        ),
        (
            Deployment("dd12", "observe", "drop"),
            [
                "group g of namespace dd12, mode observe, last 1 h: 0 sources",
                "  the pods run in mode observe, but this command is set to drop: give it their DEDUP_MODE and groups' file",
            ],
        ),
    ],
    ids=str,
)
def test_a_report_says_of_which_deployment_it_is_and_in_which_mode_it_runs(deployment: Deployment, head: list[str]) -> None:
    report = group_report([], Counter(), deployment)
    lines = as_text({"g": report}, 1).splitlines()
    assert lines[: len(head)] == head
    assert ("no pod runs in namespace dd12" in lines[-1]) is (deployment.mode is None)
    assert json.loads(as_json({"g": report}))["g"]["deployment"] == {
        "namespace": "dd12",
        "mode": deployment.mode,
        "configured_mode": deployment.configured_mode,
    }
