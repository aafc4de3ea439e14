"""The dashboard of the real demo as a newcomer sees it: at its start, while an edge is down, and after that.

`make picture` renews docs/dashboard.png by it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.browser import SHOWN, chromium, in_scheme, shown, take_picture, until_shown

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "dashboard.png"
PAGE = ROOT / "dedup_service" / "api" / "dashboard"
SIZE = (1280, 985)
MAX_BYTES = 100_000
RENEW = "RENEW_PICTURE"
"""A variable; where it is set, the picture in docs/ is replaced by what this run shows."""
STEP_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Demo:
    address: str
    log: Path


@contextmanager
def running_demo(folder: Path) -> Iterator[Demo]:
    log = folder / "log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "sandbox", "demo", "--seconds", "75"]
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, "PYTHONUNBUFFERED": "1"})
        try:
            deadline = time.monotonic() + STEP_SECONDS
            while not (found := re.search(r"running; dashboard: (http\S+)", log.read_text())):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield Demo(found[1], log)
        finally:
            process.terminate()
            process.wait(STEP_SECONDS)


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    with chromium(*SIZE) as driver:
        in_scheme(driver, "light")
        yield driver


@pytest.mark.timeout(400)
def test_the_demo_shows_numbers_from_the_first_seconds_on_and_what_happened(
    browser: webdriver.Chrome, tmp_path: Path
) -> None:
    with running_demo(tmp_path) as demo:
        browser.get(demo.address)
        rate = r"now: [1-9]\d+ unique, [1-9]\d+ copies"
        WebDriverWait(browser, STEP_SECONDS, 0.1).until(lambda b: re.search(rate, shown(b, "#rate")), "a rate")
        take_picture(browser, "demo-start")
        assert "killed edge-2" not in demo.log.read_text()
        assert re.search(r"unique readings per second, \d+ s\s+[1-9]\d+", shown(browser, "#groups"))

        until_shown(browser, "#timeline", "edge-2/sender fell silent (2 of 3 replicas are sending)", STEP_SECONDS)
        silence = r"edge-2/sender \(plant\) is silent for \d\d s"
        WebDriverWait(browser, STEP_SECONDS, 0.1).until(lambda b: re.search(silence, shown(b, "#alerts")), "a silence")
        picture = take_picture(browser, "demo-outage")
        assert "restarted edge-2" not in demo.log.read_text()

        until_shown(browser, "#timeline", "is back after", STEP_SECONDS)
        browser.get(demo.address)
        until_shown(browser, "#timeline", "is back after", STEP_SECONDS)
        until_shown(browser, "#rate", "now", STEP_SECONDS)
        take_picture(browser, "demo-after")
        assert shown(browser, "#timeline").count("edge-2/sender fell silent") == 1
    check(picture)
    if os.environ.get(RENEW):
        shutil.copy(picture, PICTURE)


def check(picture: Path) -> None:
    assert picture.stat().st_size <= MAX_BYTES
    with Image.open(picture) as image:
        assert image.size == SIZE
        headings = str(image.info[SHOWN]).splitlines()
    page = "".join(path.read_text() for path in PAGE.iterdir())
    assert len(headings) > 5
    missing = [heading for heading in headings if heading not in page]
    assert not missing, f"the page no longer has {missing}: `make picture` renews the picture"


def test_the_picture_in_the_documentation_shows_what_the_page_still_has() -> None:
    check(PICTURE)
