"""What the programs of the sandbox end with."""

from __future__ import annotations

import pytest

from sandbox.peers.processes import CANNOT_CONTINUE


def require_verdict(status: int | None, printed: str) -> None:
    """A clean one. A program that waited too long for something has found nothing to be wrong: that is late, and said so."""
    if status == CANNOT_CONTINUE and "ended unexpectedly" not in printed:
        pytest.fail(printed)
    assert status == 0, printed
