"""The REST API: what it answers, to whom, and that no request breaks it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, settings

from dedup_service.core.claims import OTHER_REPLICA, key_digest, pack, unpack
from dedup_service.core.groups import OBSERVE
from dedup_service.core.rebuild_progress import RebuildProgress
from dedup_service.errors import UnavailableError
from tests.support.api import HOSTILE, Plant
from tests.support.shared import REDIS

PRESSES = {f"edge-{n}" for n in range(3)}


@pytest.fixture
async def plant() -> Plant:
    made = Plant()
    await made.run()
    return made


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service")


async def ask(app: FastAPI, path: str, status: int = 200, **query: Any) -> Any:
    async with client_of(app) as client:
        answer = await client.get(path, params=query)
        assert answer.status_code == status, answer.text
        return answer.json()


async def test_the_state_of_a_group_and_its_replicas(plant: Plant) -> None:
    (group,) = await ask(plant.app(), "/v1/groups")
    assert (group["group"], group["state"], group["live_replicas"], group["expected_replicas"]) == (
        "presses",
        "degraded",
        2,
        3,
    )
    assert group["figures"]["24h"]["readings"] == 301
    silent = await ask(plant.app(), "/v1/replicas", state="silent")
    assert [(item["replica"], item["state"]) for item in silent] == [("edge-2", "silent")]
    assert silent[0]["silent_seconds"] == pytest.approx(150, abs=2)
    assert silent[0]["figures"]["24h"]["coverage"] == pytest.approx(150 / 301)


async def test_figures_of_a_time_that_redis_forgot_in_part_say_so(plant: Plant) -> None:
    """It forgot two minutes before the end: what is older than that is not whole, and no share of it is known."""
    ledger = plant.claims.ledger
    stats = await ask(plant.app(), "/v1/stats")
    assert stats["figures_since_ms"] is None
    plant.clock.ms += 2000  # what was looked at is asked anew
    ledger.forgotten_at_ms = forgot_ms = plant.clock.ms - 120_000
    app = plant.app()
    assert (await ask(app, "/v1/stats"))["figures_since_ms"] == forgot_ms
    (group,) = await ask(app, "/v1/groups")
    assert {period: item["complete"] for period, item in group["figures"].items()} == {
        "1m": True,
        "15m": False,
        "24h": False,
    }
    assert group["figures"]["24h"]["sole_source_share"] is None
    assert group["figures"]["1m"]["sole_source_share"] is not None
    for replica in await ask(app, "/v1/replicas"):
        assert [replica["figures"][period]["coverage"] is None for period in ("1m", "15m", "24h")] == [False, True, True]
    page = await ask(app, "/v1/sources")
    assert all(not item["complete"] and set(item["coverage"].values()) == {None} for item in page["items"])
    minutes = (await ask(app, "/v1/history"))["presses"]
    assert [item["complete"] for item in minutes] == [item["start_ms"] >= forgot_ms for item in minutes]
    assert {item["complete"] for item in minutes} == {True, False}


async def test_what_redis_forgot_more_than_a_day_ago_concerns_no_figure(plant: Plant) -> None:
    plant.claims.ledger.forgotten_at_ms = plant.clock.ms - 26 * 3_600_000
    assert (await ask(plant.app(), "/v1/stats"))["figures_since_ms"] is None
    (group,) = await ask(plant.app(), "/v1/groups")
    assert all(item["complete"] for item in group["figures"].values())


async def test_pages_contain_everything_once_and_in_order(plant: Plant) -> None:
    sources: list[str] = []
    after: dict[str, Any] = {}
    while True:
        page = await ask(plant.app(), "/v1/sources", limit=2, **after)
        sources += [item["source"] for item in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert sources == sorted([HOSTILE, *(f"urn:press-{n}" for n in range(5))])
    assert [item["source"] for item in (await ask(plant.app(), "/v1/sources", contains="press-3"))["items"]] == [
        "urn:press-3"
    ]


async def test_the_api_says_what_became_of_a_reading(plant: Plant) -> None:
    (key,) = await ask(plant.app(), "/v1/keys", source=HOSTILE, id="7")
    assert (key["group"], key["verdict"], key["replicas"]) == ("presses", "claimed", ["edge-0", "edge-1"])
    assert "nothing is remembered" in (await ask(plant.app(), "/v1/keys", 404, source="urn:none", id="7"))["detail"]


async def deliver_by_all(plant: Plant, *sources: str) -> None:
    for source in sources:
        for replica in range(3):
            await plant.deliver(replica, "new", source)


async def test_the_api_says_how_many_copies_came_of_whom(plant: Plant) -> None:
    await deliver_by_all(plant, "urn:press-1")
    (key,) = await ask(plant.app(), "/v1/keys", source="urn:press-1", id="new")
    assert (key["replicas"], key["not_from"]) == (["edge-0", "edge-1", "edge-2"], [])
    assert (key["copies"], key["copies_exact"], key["replicas_known"]) == (3, True, True)
    assert (key["conflict"], key["conflicts"]) == ("none", [])
    assert key["text"] == "claimed; 3 copies, of edge-0, edge-1, edge-2"
    (key,) = await ask(plant.app(), "/v1/keys", source="urn:press-1", id="296")
    assert (key["copies"], key["replicas"], key["not_from"]) == (2, ["edge-0", "edge-1"], ["edge-2"])


async def test_copies_that_may_have_been_repeated_are_not_counted_as_if_they_were_not(plant: Plant) -> None:
    await deliver_by_all(plant, "urn:press-1", "urn:press-2")
    await plant.deliver(0, "296", "urn:press-1")
    for reading_id in ("new", "296"):  # repetitions are counted by source
        (key,) = await ask(plant.app(), "/v1/keys", source="urn:press-1", id=reading_id)
        assert (key["copies"], key["copies_exact"]) == (len(key["replicas"]), False)
        assert f"at least {key['copies']} copies" in key["text"]
    (key,) = await ask(plant.app(), "/v1/keys", source="urn:press-2", id="new")
    assert key["copies_exact"]


async def test_the_api_shows_the_conflict_of_a_reading(plant: Plant) -> None:
    (key,) = await ask(plant.app(), "/v1/keys", source=HOSTILE, id="7")
    assert (key["conflict"], key["conflicts"][0]["replica"]) == ("seen", "edge-1")
    assert key["conflicts"][0]["winner_replicas"] == ["edge-0"]
    assert "they differ in content" in key["text"]
    await plant.deliver(0, "8", HOSTILE)
    (key,) = await ask(plant.app(), "/v1/keys", source=HOSTILE, id="8")
    assert (key["conflict"], key["conflicts"]) == ("unknown", [])
    assert "whether they agree in content is not known" in key["text"]


async def test_what_is_not_counted_or_forgotten_of_a_reading_is_unknown(plant: Plant) -> None:
    async def asked() -> tuple[Any, ...]:
        (key,) = await ask(plant.app(), "/v1/keys", source="urn:press-1", id="new")
        return key["copies"], key["copies_exact"], key["conflict"]

    await deliver_by_all(plant, "urn:press-1")
    assert await asked() == (3, True, "none")
    plant.fleet.is_counting = False
    assert await asked() == (3, False, "unknown")
    plant.fleet.is_counting = True
    plant.claims.ledger.forgotten_at_ms = plant.clock.ms - 1000
    assert await asked() == (3, False, "unknown")


async def test_a_claim_that_was_read_back_does_not_say_who_else_delivered(plant: Plant) -> None:
    digest = key_digest("presses", "urn:press-1", "296")
    claim, until_ms = plant.claims.stored[digest]
    plant.claims.stored[digest] = pack(replace(unpack(claim), confirmed=True, restored=True, replicas=1)), until_ms
    (key,) = await ask(plant.app(), "/v1/keys", source="urn:press-1", id="296")
    assert (key["verdict"], key["replicas_known"], key["copies"], key["copies_exact"]) == ("published", False, 1, False)
    assert key["text"].startswith("published; at least 1 copy, of edge-0")


async def test_a_reading_that_was_only_observed_is_not_called_published(plant: Plant) -> None:
    observing = replace(plant.fleet.groups[0], mode=OBSERVE)
    claim, until_ms = plant.claims.stored[key_digest("presses", "urn:press-1", "296")]
    digest = key_digest(observing.claim_scope, "urn:press-1", "296")
    plant.claims.stored[digest] = pack(replace(unpack(claim), confirmed=True)), until_ms
    plant.fleet.groups = [observing]
    (key,) = await ask(plant.app(), "/v1/keys", source="urn:press-1", id="296")
    assert key["verdict"] == "observed"
    assert key["text"].startswith("observed, not published; ")


async def test_gaps_name_what_no_replica_delivered(plant: Plant) -> None:
    for number in (1000, 1004):
        await plant.deliver(0, f"g{number}", "urn:gappy", sequence=number)
    gaps = (await ask(plant.app(), "/v1/gaps", source="urn:gappy"))["items"]
    assert [(gap["first"], gap["last"], gap["missing"]) for gap in gaps] == [(1001, 1003, 3)]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_gaps_come_page_by_page_each_once_and_in_order(plant: Plant, limit: int) -> None:
    for source in (HOSTILE, "urn:a b", "urn:c"):
        for n in (1, 3, 6, 10):
            await plant.deliver(0, f"{source} {n}", source, sequence=n)
    whole = (await ask(plant.app(), "/v1/gaps"))["items"]
    places = [(gap["source"], gap["first"]) for gap in whole]
    assert places == sorted(set(places))
    assert {first for source, first in places if source == HOSTILE} == {2, 4, 7}
    read: list[Any] = []
    after: dict[str, Any] = {}
    while True:
        page = await ask(plant.app(), "/v1/gaps", limit=limit, **after)
        read += page["items"]
        assert len(page["items"]) <= limit
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert read == whole


@pytest.mark.parametrize(
    "after", ["", "x", "presses", "presses one 1 urn:a", "presses 1 1", "presses 99999999999999999999 1 u"]
)
async def test_any_text_is_a_place_in_the_list(plant: Plant, after: str) -> None:
    whole = (await ask(plant.app(), "/v1/gaps"))["items"]
    page = (await ask(plant.app(), "/v1/gaps", after=after))["items"]
    assert page == whole[len(whole) - len(page) :]
    assert bool(page) is (after != "x")


async def test_replicas_beyond_the_last_number_are_one_in_the_list_which_says_so(plant: Plant) -> None:
    plant.groups[0] = replace(plant.groups[0], expected_replicas=500)
    for replica in range(3, 40):
        await plant.deliver(min(replica, OTHER_REPLICA), f"of {replica}")
    plant.clock.ms += 2000
    replicas = await ask(plant.app(), "/v1/replicas")
    assert [(item["replica"], item["counted_together"]) for item in replicas if item["replica"] not in PRESSES] == [
        *((f"edge-{n}", False) for n in range(3, 31)),
        ("other", True),
    ]
    (group,) = await ask(plant.app(), "/v1/groups")
    assert group["expected_replicas"] == 32
    assert "other" not in (await ask(plant.app(), "/v1/sources"))["items"][0]["coverage"]


async def test_sources_beyond_the_limit_are_said_to_be_counted_together(plant: Plant) -> None:
    assert (await ask(plant.app(), "/v1/sources"))["counted_together"] == []
    plant.claims.ledger.max_sources = 0
    for replica in range(2):
        await plant.deliver(replica, "1", "urn:one-too-many")
    page = await ask(plant.app(), "/v1/sources")
    assert "urn:one-too-many" not in [item["source"] for item in page["items"]]
    assert page["counted_together"] == [{"group": "presses", "readings": 1, "copies": 2, "conflicts": 0}]


async def test_conflicts_dead_letters_partitions_history_and_totals(plant: Plant) -> None:
    (conflict,) = await ask(plant.app(), "/v1/conflicts", group="presses")
    assert (conflict["source"], conflict["winner_replicas"]) == (HOSTILE, ["edge-0"])
    assert (await ask(plant.app(), "/v1/dead-letters"))[0]["reason"] == "no-key"
    assert [item["owner"] for item in await ask(plant.app(), "/v1/partitions")] == ["pod-1", "pod-1"]
    assert sum(minute["readings"] for minute in (await ask(plant.app(), "/v1/history"))["presses"]) > 200
    stats = await ask(plant.app(), "/v1/stats")
    totals = stats["totals"]
    assert totals["copies"] == 5
    assert (totals["in_doubt_found"], totals["in_doubt_published"], totals["in_doubt_expired"]) == (1, 0, 2)
    restoring = ("redis_forgot", "claims_restored", "not_restored", "clean_stream_expired")
    assert [totals[name] for name in restoring] == [1, 900, 0, 0]


async def test_the_rate_is_that_of_the_last_seconds_and_says_which(plant: Plant) -> None:
    """One reading a second, of two replicas; a cold start is shown after seconds, not after a full minute."""
    (group,) = await ask(plant.app(), "/v1/groups")
    for rate in (group["rate"], (await ask(plant.app(), "/v1/stats"))["rate"]):
        assert rate["seconds"] == 10
        assert rate["to_ms"] - rate["from_ms"] == 10_000
        assert plant.clock.ms - 2000 < rate["to_ms"] <= plant.clock.ms
        assert (rate["copies_per_second"], rate["readings_per_second"], rate["duplicates_per_second"]) == (2, 1, 1)


async def test_a_cold_start_has_a_rate_and_a_curve_within_seconds() -> None:
    plant = Plant()
    for n in range(5):
        assert (await ask(plant.app(), "/v1/stats"))["rate"] is None or n == 4
        for replica in range(3):
            await plant.deliver(replica, str(n))
        await plant.status.tell()
        plant.clock.ms += 1000
    (group,) = await ask(plant.app(), "/v1/groups")
    assert group["readings_per_second"] == 0
    assert (group["rate"]["seconds"], group["rate"]["readings_per_second"]) == (2, 1)
    steps = (await ask(plant.app(), "/v1/flow"))["presses"]
    assert [(step["seconds"], step["copies"], step["readings"], step["duplicates"]) for step in steps] == [(2, 6, 2, 4)] * 2


async def test_the_curve_has_everything_since_the_first_copy(plant: Plant) -> None:
    steps = (await ask(plant.app(), "/v1/flow", group="presses"))["presses"]
    assert sum(step["readings"] for step in steps) == 300
    assert steps[-1]["start_ms"] + steps[-1]["seconds"] * 1000 == plant.clock.ms // 2000 * 2000


async def test_the_timeline_says_what_happened_newest_first(plant: Plant) -> None:
    entries = (await ask(plant.app(), "/v1/timeline"))["items"]
    assert [(entry["kind"], entry["what"]) for entry in entries if entry["kind"] != "conflicts"] == [
        ("replica-silent", "edge-2"),
        *(("replica-new", f"edge-{n}") for n in (2, 1, 0)),
        ("pod-joined", "pod-1"),
    ]
    silent = next(entry for entry in entries if entry["kind"] == "replica-silent")
    assert silent["text"] == "edge-2 fell silent (2 of 3 replicas are sending)"
    assert (silent["lasts"], silent["ended"], silent["ended_ms"], silent["is_good"]) == (True, None, None, False)
    assert silent["began_ms"] == plant.clock.ms - 151_000
    plant.clock.ms += 1000
    await plant.deliver(2, "back")
    await plant.report()
    (silent, *_) = (await ask(plant.app(), "/v1/timeline", group="presses"))["items"][-4:]
    assert (silent["ended"], silent["lasts"], silent["times"]) == ("is back after 2 min 32 s", False, 1)


async def test_the_timeline_has_pages(plant: Plant) -> None:
    everything = (await ask(plant.app(), "/v1/timeline"))["items"]
    numbers: list[int] = []
    after: dict[str, Any] = {}
    while True:
        page = await ask(plant.app(), "/v1/timeline", limit=2, **after)
        numbers += [item["number"] for item in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert numbers == [item["number"] for item in everything]
    assert (await ask(plant.app(), "/v1/timeline", 404, group="ovens"))["detail"].startswith("no such group")


async def test_a_rebuild_is_as_far_as_the_pod_that_is_least_far(plant: Plant) -> None:
    assert (await ask(plant.app(), "/v1/stats"))["rebuild"] is None
    await plant.rebuild(RebuildProgress(5, 0.9, True, 3.0), RebuildProgress(4, 0.63, True, 41.0), None)
    expected = {"forgot_ms": 4, "share": 0.63, "seconds_left": 41.0, "live_data": "goes-on"}
    assert (await ask(plant.app(), "/v1/stats"))["rebuild"] == expected
    await plant.rebuild(RebuildProgress(4, 0.0, False))
    stats = await ask(plant.app(), "/v1/stats")
    assert stats["rebuild"] == {"forgot_ms": 4, "share": 0.0, "seconds_left": None, "live_data": "paused"}


async def test_a_pod_that_waits_for_a_rebuild_is_ready_and_says_what_it_waits_for(plant: Plant) -> None:
    assert await ask(plant.app(), "/readyz") == {"status": "ready", "detail": ""}
    assert await ask(plant.app(remark="63 %, 41 s left"), "/readyz") == {"status": "ready", "detail": "63 %, 41 s left"}


COUNTED = ("stats", "groups", "replicas", "sources", "flow", "history")


@pytest.mark.parametrize("path", [*COUNTED, "partitions", "conflicts", "gaps", "timeline"])
async def test_everything_needs_the_token(plant: Plant, path: str) -> None:
    async with client_of(plant.app("sesame")) as client:
        for headers in ({}, {"Authorization": "Bearer Sesame"}, {"Authorization": "Basic sesame"}):
            assert (await client.get(f"/v1/{path}", headers=headers)).status_code == 401
        answer = await client.get(f"/v1/{path}", headers={"Authorization": "Bearer sesame"})
        assert answer.status_code == 200
        assert "sesame" not in answer.text
        for open_path in ("/healthz", "/metrics", "/"):
            assert (await client.get(open_path)).status_code == 200


@pytest.mark.parametrize("path", COUNTED)
async def test_without_redis_the_answer_says_so(plant: Plant, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any) -> Any:
        raise UnavailableError(REDIS, "no answer")

    plant.clock.ms += 2000  # what was looked at is asked anew
    for name in ("now_ms", "totals", "pods"):
        target = plant.fleet.ledger if name == "now_ms" else plant.board
        monkeypatch.setattr(type(target), name, away)
    assert await ask(plant.app(), f"/v1/{path}", 503) == {"detail": "Redis: no answer"}


async def test_what_is_not_counted_is_not_shown_as_silent(plant: Plant) -> None:
    plant.fleet.is_counting = False
    for path in ("groups", "replicas", "sources", "gaps", "history"):
        assert "DEDUP_ACCOUNTING is off" in (await ask(plant.app(), f"/v1/{path}", 503))["detail"]
    await ask(plant.app(), "/v1/partitions")


async def test_before_the_start_is_complete_the_answer_says_so() -> None:
    assert "waiting" in (await ask(Plant(groups=[]).app(), "/v1/groups", 503))["detail"]


async def test_an_unknown_group_is_not_found(plant: Plant) -> None:
    for path in ("replicas", "sources", "gaps", "conflicts", "history", "dead-letters", "flow", "timeline"):
        assert "no such group" in (await ask(plant.app(), f"/v1/{path}", 404, group="ovens"))["detail"]


@pytest.mark.parametrize("text", ["x" * 60_000, "\ud800".encode("utf-8", "surrogatepass"), "%", "\x00", "💥" * 500])
async def test_garbage_gets_a_client_error_or_nothing_found(plant: Plant, text: Any) -> None:
    async with client_of(plant.app()) as client:
        for path in ("keys", "sources", "gaps", "replicas", "conflicts", "timeline", "flow"):
            for name in ("source", "id", "group", "contains", "after", "limit", "state"):
                status = (await client.get(f"/v1/{path}", params={"source": "s", "id": "i", name: text})).status_code
                assert status == 200 or 400 <= status < 500


async def test_the_openapi_document_has_examples(plant: Plant) -> None:
    document = await ask(plant.app(), "/openapi.json")
    assert set(document["paths"]) >= {
        f"/v1/{name}" for name in ("stats", "groups", "replicas", "sources", "partitions", "keys")
    }
    keys = document["paths"]["/v1/keys"]["get"]["parameters"]
    assert all("examples" in parameter["schema"] for parameter in keys)


async def _loaded_app(token: str | None) -> FastAPI:
    plant = Plant()
    await plant.run(1)
    return plant.app(token)


WITHOUT_TOKEN = schemathesis.openapi.from_asgi("/openapi.json", asyncio.run(_loaded_app(None)))
WITH_TOKEN = schemathesis.openapi.from_asgi("/openapi.json", asyncio.run(_loaded_app("sesame")))
"""Both receive requests that their OpenAPI document allows, and requests that it does not allow."""
relaxed = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@WITHOUT_TOKEN.parametrize()
@relaxed
def test_no_request_breaks_it_or_gets_an_undocumented_answer(case: Any) -> None:
    case.call_and_validate()


@WITH_TOKEN.parametrize()
@relaxed
def test_no_request_without_the_token_breaks_it_or_gets_an_undocumented_answer(case: Any) -> None:
    case.call_and_validate()


async def test_the_documentation_needs_nothing_from_the_internet(plant: Plant) -> None:
    async with client_of(plant.app()) as client:
        page = (await client.get("/docs")).text
        assert "SwaggerUIBundle" in page
        addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert len(addresses) >= 2
        for address in addresses:
            answer = await client.get(httpx.URL("http://service/docs").join(address))
            assert (answer.status_code, answer.url.host, bool(answer.content)) == (200, "service", True), address
