"""What the programs of the sandbox end with."""

from __future__ import annotations

import pytest

from sandbox.peers.processes import CANNOT_CONTINUE, ENDED


def require_verdict(status: int | None, printed: str) -> None:
    """A clean one. A program that waited too long for something is late. One of whose processes crashed is not."""
    if status == CANNOT_CONTINUE and ENDED not in printed:
        pytest.fail(printed)
    assert status == 0, printed
