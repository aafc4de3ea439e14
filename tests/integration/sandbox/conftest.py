"""Fixtures for tests of the stand-in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.iot_hub import Paho


@pytest.fixture
def pahos() -> Iterator[list[Paho]]:
    """Those that are to be stopped at the end."""
    made: list[Paho] = []
    yield made
    for one in made:
        one.client.disconnect()
        one.stop()
