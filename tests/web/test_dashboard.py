"""The dashboard in a real browser shows which replica is in trouble, in light and dark, and loads nothing from elsewhere."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from dedup_service.api.app import ApiServer
from dedup_service.core.rebuild_progress import RebuildProgress
from tests.support.api import HOSTILE, Plant
from tests.support.programs import require

DEADLINE_SECONDS = 60.0
SIZE = "--window-size=1280,1500"
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = Options()
    options.binary_location = require("chromium")
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        SIZE,
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(require("chromedriver")))
    yield driver
    driver.quit()


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


def shown(browser: webdriver.Chrome, css: str) -> str:
    """The text of all matching elements, read at once because the page replaces its parts every two seconds."""
    script = "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText).join('\\n')"
    return str(browser.execute_script(script, css))


def bottom(browser: webdriver.Chrome, css: str) -> float:
    """The lower edge of the first matching element, in pixels below the top of the page."""
    return float(browser.execute_script("return document.querySelector(arguments[0]).getBoundingClientRect().bottom", css))


def until_shown(browser: webdriver.Chrome, css: str, text: str) -> None:
    WebDriverWait(browser, DEADLINE_SECONDS, poll_frequency=0.1).until(lambda b: text in shown(b, css), f"{text!r} in {css}")


def until_gone(browser: webdriver.Chrome, css: str, text: str) -> None:
    WebDriverWait(browser, DEADLINE_SECONDS, poll_frequency=0.1).until(lambda b: text not in shown(b, css))


def look(browser: webdriver.Chrome, url: str, name: str, scheme: str) -> None:
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    browser.get(url)
    until_shown(browser, "#replicas", "edge-2")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    browser.save_screenshot(str(SCREENSHOTS / f"{name}.png"))


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
    plant.claims.ledger.forgotten_at_ms = plant.clock.ms - 60_000
    async with served(plant) as url:
        await asyncio.to_thread(look, browser, url, "dashboard-forgot", "light")
        assert "Figures since" in shown(browser, "#alerts")
        assert "Redis forgot" in shown(browser, "#alerts")
        assert "incomplete" in shown(browser, "#replicas")
        assert "incomplete" in shown(browser, "#groups")


async def test_a_replica_that_comes_back_is_live_again_without_reloading(browser: webdriver.Chrome, plant: Plant) -> None:
    async with served(plant) as url:
        await asyncio.to_thread(look, browser, url, "dashboard-before", "light")
        plant.clock.ms += 2000
        await plant.deliver(2, "back")
        await asyncio.to_thread(until_shown, browser, "#groups", "3 of 3")
        assert "silent" not in shown(browser, "#alerts")


async def test_a_rebuild_of_claims_is_shown_while_it_lasts(browser: webdriver.Chrome, plant: Plant) -> None:
    forgot_ms = plant.clock.now_ms()
    async with served(plant) as url:
        await plant.rebuild(RebuildProgress(forgot_ms, 0.0, is_ready=False))
        await asyncio.to_thread(look, browser, url, "dashboard-paused", "light")
        assert "Redis forgot at " in shown(browser, "#alerts p.bad")
        assert "read back from the clean stream: 0 %. Live data is paused" in shown(browser, "#alerts p.bad")
        await plant.rebuild(RebuildProgress(forgot_ms, 0.637, is_ready=True, seconds_left=41.2))
        await asyncio.to_thread(until_shown, browser, "#alerts p.warn", "63 %, 41 s left. Live data goes on")
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(SCREENSHOTS / "dashboard-rebuild.png"))
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
