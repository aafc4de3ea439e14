"""What is waited for in the field, for servers and networks to come back, takes a tenth of that time here."""

from __future__ import annotations

import pytest

from edge_sender.sources.opcua import inventory, redundancy, session, source

QUICK = {
    inventory: {"SETTLE_SECONDS": 0.1},
    redundancy: {"LEVEL_SECONDS": 0.1, "LOOK_EVERY_SECONDS": 0.3, "ACQUAINT_SECONDS": 0.3},
    session: {"RESUME_SECONDS": 0.1, "ON_ITS_WAY_SECONDS": 0.3, "WATCH_SECONDS": 0.1},
    source: {"FIRST_RETRY_SECONDS": 0.1, "MAX_RETRY_SECONDS": 0.5},
}


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, times in QUICK.items():
        for name, seconds in times.items():
            monkeypatch.setattr(module, name, seconds)
