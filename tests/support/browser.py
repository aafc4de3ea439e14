"""Chromium, and what a page in it shows."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.programs import require

DEADLINE_SECONDS = 60.0
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
COLOURS = 128
"""Of a picture: text on plain grounds needs no more, and it makes a third of the size."""
VISIBLE_HEADINGS = """
    return [...document.querySelectorAll('h1, h2, th')]
      .filter(e => e.getBoundingClientRect().bottom < innerHeight).map(e => e.innerText)
"""
SHOWN = "shown"
"""The text in a picture's file that lists the headings of what it shows."""


@contextmanager
def chromium(width: int, height: int) -> Iterator[webdriver.Chrome]:
    """The size is that of the page, in pixels."""
    options = Options()
    options.binary_location = require("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(require("chromedriver")))
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        yield driver
    finally:
        driver.quit()


def shown(browser: webdriver.Chrome, css: str) -> str:
    """The text of all matching elements, read at once because the page replaces its parts every two seconds."""
    script = "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText).join('\\n')"
    return str(browser.execute_script(script, css))


def bottom(browser: webdriver.Chrome, css: str) -> float:
    """The lower edge of the first matching element, in pixels below the top of the page."""
    return float(browser.execute_script("return document.querySelector(arguments[0]).getBoundingClientRect().bottom", css))


def until_shown(browser: webdriver.Chrome, css: str, text: str, seconds: float = DEADLINE_SECONDS) -> None:
    WebDriverWait(browser, seconds, poll_frequency=0.1).until(lambda b: text in shown(b, css), f"{text!r} in {css}")


def until_gone(browser: webdriver.Chrome, css: str, text: str) -> None:
    WebDriverWait(browser, DEADLINE_SECONDS, poll_frequency=0.1).until(lambda b: text not in shown(b, css))


def in_scheme(browser: webdriver.Chrome, scheme: str) -> None:
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})


def take_picture(browser: webdriver.Chrome, name: str) -> Path:
    """Of what the page shows now, small, with the list of its headings in the file."""
    taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    headings = browser.execute_script(VISIBLE_HEADINGS)
    information = PngInfo()
    information.add_itxt(SHOWN, "\n".join(dict.fromkeys(headings)))
    picture = Image.open(io.BytesIO(base64.b64decode(taken))).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    picture.save(path, optimize=True, pnginfo=information)
    return path
