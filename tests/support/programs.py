"""Programs of the system's package manager: tests that need one are left out where it is missing, except in CI."""

from __future__ import annotations

import os
import shutil

import pytest

PACKAGES = {"chromium": "chromium", "chromedriver": "chromium-driver", "promtool": "prometheus"}
"""Program → Debian's package."""


def require(program: str) -> str:
    """Its path. Skips the test where it is missing, or fails it where CI=true."""
    path = shutil.which(program)
    if path is not None:
        return path
    message = f"needs {program}: apt-get install {PACKAGES[program]}"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(message)
    pytest.skip(message)
