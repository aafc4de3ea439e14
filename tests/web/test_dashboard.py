"""The dashboard in a real browser shows which replica is in trouble, in light and dark, and loads nothing from elsewhere."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from dedup_service.api.app import ApiServer
from dedup_service.core.rebuild_progress import RebuildProgress
from tests.support.api import HOSTILE, Plant
from tests.support.browser import (
    DEADLINE_SECONDS,
    bottom,
    chromium,
    in_scheme,
    shown,
    take_picture,
    until_gone,
    until_shown,
)


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    with chromium(1280, 1500) as driver:
        yield driver


@asynccontextmanager
async def served(plant: Plant, token: str | None = None) -> AsyncIterator[str]:
    listening = socket.create_server(("127.0.0.1", 0))
    server = ApiServer(plant.app(token))
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        server.should_exit = True
        await task


@pytest.fixture
async def plant() -> Plant:
    made = Plant()
    await made.run()
    for number in (1000, 1004):
        await made.deliver(0, f"g{number}", "urn:gappy", sequence=number)
    return made


def look(browser: webdriver.Chrome, url: str, name: str, scheme: str) -> None:
    in_scheme(browser, scheme)
    browser.get(url)
    until_shown(browser, "#replicas", "edge-2")
    take_picture(browser, name)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_replica_in_trouble_is_on_the_first_screen(browser: webdriver.Chrome, plant: Plant, scheme: str) -> None:
    async with served(plant) as url:
        await asyncio.to_thread(look, browser, url, f"dashboard-{scheme}", scheme)
        assert "edge-2 (presses) is silent" in shown(browser, "#alerts")
        first_row = "#replicas tbody tr:first-child"
        assert "silent" in shown(browser, first_row)
        assert "edge-2" in shown(browser, first_row)
        assert max(bottom(browser, "#alerts p"), bottom(browser, first_row)) < 800
        assert "2 of 3" in shown(browser, "#groups")
        assert "1001 – 1003" in shown(browser, "#gaps")
        assert "no-key" in shown(browser, "#dead-letters")
        assert browser.find_elements(By.CSS_SELECTOR, "#flow path[d^='M']")
        background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(246, 247, 249)") == (scheme == "light")


async def test_device_texts_stay_text_and_nothing_is_loaded_from_elsewhere(browser: webdriver.Chrome, plant: Plant) -> None:
    async with served(plant) as url:
        await asyncio.to_thread(look, browser, url, "dashboard-hostile", "light")
        assert "<img src=x" in shown(browser, "#conflicts")
        assert HOSTILE.startswith("urn:<img")
        assert not browser.find_elements(By.CSS_SELECTOR, "#conflicts img")
        loaded = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
        assert loaded
        assert all(name.startswith((url, "data:")) for name in loaded)
        log: list[dict[str, str]] = browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium's
        assert [entry for entry in log if entry["level"] == "SEVERE" and url in entry["message"]] == []


async def test_figures_of_a_time_that_redis_forgot_are_called_incomplete(browser: webdriver.Chrome, plant: Plant) -> None:
    plant.clock.ms += 2000  # what was looked at is asked anew
    plant.claims.ledger.forgotten_at_ms = plant.clock.ms - 60_000
    async with served(plant) as url:
        await asyncio.to_thread(look, browser, url, "dashboard-forgot", "light")
        assert "Figures since" in shown(browser, "#alerts")
        assert "Redis forgot" in shown(browser, "#alerts")
        assert "incomplete" in shown(browser, "#replicas")
        assert "incomplete" in shown(browser, "#groups")


async def test_what_is_counted_together_beyond_the_limit_of_sources_is_shown(
    browser: webdriver.Chrome, plant: Plant
) -> None:
    plant.claims.ledger.max_sources = 1
    for number in range(3):
        await plant.deliver(0, f"m{number}", f"urn:made-up-{number}")
    async with served(plant) as url:
        await asyncio.to_thread(look, browser, url, "dashboard-together", "light")
        assert "presses: 3 copies in 24 h are of sources beyond DEDUP_MAX_SOURCES" in shown(browser, "#alerts")


async def test_a_replica_that_comes_back_is_live_again_without_reloading(browser: webdriver.Chrome, plant: Plant) -> None:
    async with served(plant) as url:
        await asyncio.to_thread(look, browser, url, "dashboard-before", "light")
        assert "edge-2 fell silent (2 of 3 replicas are sending)\tlasts" in shown(browser, "#timeline tr.bad")
        plant.clock.ms += 2000
        await plant.deliver(2, "back")
        await plant.report()
        await asyncio.to_thread(until_shown, browser, "#groups", "3 of 3")
        assert "silent" not in shown(browser, "#alerts")
        await asyncio.to_thread(until_shown, browser, "#timeline", "is back after 2 min 33 s")
        assert "fell silent" not in shown(browser, "#timeline tr.bad")
        assert browser.find_elements(By.CSS_SELECTOR, "#flow rect.spell")


async def test_a_cold_start_shows_a_rate_and_a_curve_within_seconds(browser: webdriver.Chrome) -> None:
    plant = Plant()
    await plant.report()
    async with served(plant) as url:
        await asyncio.to_thread(browser.get, url)
        await asyncio.to_thread(until_shown, browser, "#rate", "waiting for readings")
        for n in range(5):
            for replica in range(3):
                await plant.deliver(replica, f"{n}")
            await plant.report()
            plant.clock.ms += 1000
        await asyncio.to_thread(until_shown, browser, "#rate", "now: 1.0 unique, 3.0 copies (over 2 s)")
        assert "1.0" in shown(browser, "#groups dl")
        assert browser.find_elements(By.CSS_SELECTOR, "#flow path[d^='M']")
        assert "edge-2 was seen for the first time" in shown(browser, "#timeline")


async def test_a_rebuild_of_claims_is_shown_while_it_lasts(browser: webdriver.Chrome, plant: Plant) -> None:
    forgot_ms = plant.clock.now_ms()
    async with served(plant) as url:
        await plant.rebuild(RebuildProgress(forgot_ms, 0.0, is_ready=False))
        await asyncio.to_thread(look, browser, url, "dashboard-paused", "light")
        assert "Redis forgot at " in shown(browser, "#alerts p.bad")
        assert "read back from the clean stream: 0 %. Live data is paused" in shown(browser, "#alerts p.bad")
        await plant.rebuild(RebuildProgress(forgot_ms, 0.637, is_ready=True, seconds_left=41.2))
        await asyncio.to_thread(until_shown, browser, "#alerts p.warn", "63 %, 41 s left. Live data goes on")
        take_picture(browser, "dashboard-rebuild")
        at = browser.execute_script("return new Date(arguments[0]).toLocaleTimeString()", forgot_ms)
        assert f"Redis forgot at {at}" in shown(browser, "#alerts p.warn")
        await plant.rebuild(None)
        await asyncio.to_thread(until_gone, browser, "#alerts", "Redis forgot")


async def test_a_dashboard_that_needs_a_token_asks_for_it(browser: webdriver.Chrome, plant: Plant) -> None:
    def log_in(url: str) -> None:
        browser.get(url)
        field = browser.find_element(By.ID, "token")
        WebDriverWait(browser, DEADLINE_SECONDS).until(lambda _: field.is_displayed())
        field.send_keys("sesame\n")
        until_shown(browser, "#replicas", "edge-2")
        assert not field.is_displayed()

    async with served(plant, "sesame") as url:
        await asyncio.to_thread(log_in, url)
    browser.execute_script("sessionStorage.clear()")


async def test_a_service_that_does_not_answer_is_shown_as_such(browser: webdriver.Chrome, plant: Plant) -> None:
    async with served(plant) as url:
        await asyncio.to_thread(look, browser, url, "dashboard-gone", "light")
    await asyncio.to_thread(until_shown, browser, "#freshness", "no answer")
    assert "old" in shown(browser, "#freshness")
