"""Programs from the system's package manager: tests that need one are skipped where it is missing, except in CI."""

from __future__ import annotations

import os
import shutil

import pytest

PACKAGES = {"chromium": "chromium", "chromedriver": "chromium-driver", "mosquitto": "mosquitto", "promtool": "prometheus"}
"""Program → Debian package."""


def require(program: str) -> str:
    """The program's path. If it is missing, skips the test, or fails it where CI=true."""
    path = shutil.which(program)
    if path is not None:
        return path
    message = f"needs {program}: apt-get install {PACKAGES[program]}"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(message)
    pytest.skip(message)
