"""A round trip has a time-out of its own, and goes on until then: one answer that does not come ends nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from dedup_service.commands import check as module
from dedup_service.commands.check import Checker, CheckFailedError, NotNowError, RoundTripPorts

UNKNOWN = (404, "nothing is remembered about this reading")
BUSY = (503, "Redis does not answer")
CLAIMED, PUBLISHED = ((200, [{"verdict": verdict, "winner_origin": "1/0/0/0"}]) for verdict in ("claimed", "published"))
Answer = tuple[int, Any] | Exception


class Asking(Checker):
    """Of a service that answers so, one answer after another, and the last one for ever."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__("http://service", None, MagicMock())
        self.answers: Iterator[Answer] = iter(answers)
        self.last: Answer = answers[-1]

    async def _get(self, path: str, **query: str) -> tuple[int, Any]:
        answer = next(self.answers, self.last)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def _hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    """In which the copies were sent to partition 0, up to number 7, and came out once."""
    monkeypatch.setattr(module, "POLL_SECONDS", 0)
    monkeypatch.setattr(module, "_send_copies", AsyncMock(return_value={"0": 7}))
    monkeypatch.setattr(module, "_count", AsyncMock(return_value=1))


def ports() -> RoundTripPorts:
    return RoundTripPorts(MagicMock(), MagicMock(ends=AsyncMock(return_value={"0": 1})), MagicMock())


async def test_it_goes_on_while_the_service_can_not_answer_now() -> None:
    silence = NotNowError("no answer (TimeoutError)")
    behind, finished = ((200, [{"partition": "plant/0", "sequence_number": number}]) for number in (6, 7))
    asking = Asking(silence, BUSY, UNKNOWN, CLAIMED, BUSY, PUBLISHED, silence, BUSY, behind, finished)
    assert "3 copies sent, 1 in the clean hub" in await asking.round_trip(ports(), 60)


@pytest.mark.parametrize("answer", [BUSY, UNKNOWN])
async def test_at_its_end_it_says_why_there_was_no_answer(answer: tuple[int, str]) -> None:
    with pytest.raises(CheckFailedError, match=rf"did not get through in 0 s; .*/v1/keys: HTTP {answer[0]}: {answer[1]}"):
        await Asking(answer).round_trip(ports(), 0.05)


async def test_what_was_answered_later_is_no_reason() -> None:
    with pytest.raises(CheckFailedError, match="did not get through in 0 s$"):
        await Asking(BUSY, CLAIMED).round_trip(ports(), 0.05)


async def test_a_refusal_ends_it_at_once() -> None:
    with pytest.raises(CheckFailedError, match="HTTP 401"):
        await Asking((401, "who are you")).round_trip(ports(), 60)
