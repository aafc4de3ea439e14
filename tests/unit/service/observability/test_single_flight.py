"""What many ask at the same moment is asked once, and nobody spoils it for the others."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from dedup_service.errors import UnavailableError
from dedup_service.observability.fleet import Fleet
from dedup_service.observability.single_flight import SingleFlight
from tests.doubles.board import MemoryPodBoard
from tests.doubles.memory import MemoryClaims, MemoryClock
from tests.doubles.timeline import MemoryTimelineStore
from tests.support.groups import group_of
from tests.support.shared import REDIS


class Question:
    """Is answered when the test says so."""

    def __init__(self) -> None:
        self.times_asked = 0
        self.answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def ask(self) -> int:
        self.times_asked += 1
        return await self.answer


async def all_waiting(tasks: list[asyncio.Task[int]]) -> None:
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


async def test_one_answer_is_for_all_who_ask_meanwhile_and_for_nobody_later() -> None:
    flights, question = SingleFlight(), Question()
    asking = [asyncio.create_task(flights.run("x", question.ask)) for _ in range(5)]
    await all_waiting(asking)
    question.answer.set_result(7)
    assert await asyncio.gather(*asking) == [7] * 5
    assert question.times_asked == 1
    assert await flights.run("x", question.ask) == 7
    assert question.times_asked == 2


async def test_different_questions_are_asked_separately() -> None:
    flights, one, two = SingleFlight(), Question(), Question()
    one.answer.set_result(1)
    two.answer.set_result(2)
    answers = await asyncio.gather(flights.run("one", one.ask), flights.run("two", two.ask))
    assert tuple(answers) == (1, 2)


async def test_an_error_is_everybodys_and_the_next_one_asks_again() -> None:
    flights, question = SingleFlight(), Question()
    asking = [asyncio.create_task(flights.run("x", question.ask)) for _ in range(3)]
    await all_waiting(asking)
    question.answer.set_exception(UnavailableError(REDIS, "no answer"))
    errors = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(error) for error in errors] == [UnavailableError] * 3
    again = Question()
    again.answer.set_result(1)
    assert await flights.run("x", again.ask) == 1


@pytest.mark.parametrize("cancelled", [0, 1])
async def test_who_is_cancelled_does_not_cancel_the_others(cancelled: int) -> None:
    flights, question = SingleFlight(), Question()
    asking = [asyncio.create_task(flights.run("x", question.ask)) for _ in range(2)]
    await all_waiting(asking)
    asking[cancelled].cancel()
    await asyncio.wait([asking[cancelled]])
    question.answer.set_result(7)
    assert await asking[1 - cancelled] == 7


async def test_an_error_for_which_nobody_waits_any_more_is_no_alarm() -> None:
    alarms: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: alarms.append(context))
    flights, question = SingleFlight(), Question()
    asking = asyncio.create_task(flights.run("x", question.ask))
    await all_waiting([asking])
    asking.cancel()
    await asyncio.wait([asking])
    question.answer.set_exception(UnavailableError(REDIS, "no answer"))
    for _ in range(3):
        await asyncio.sleep(0)
    del asking, question
    assert not alarms


class CountingLedger:
    """Counts the calls to a ledger, each of which takes a turn of the event loop."""

    def __init__(self, ledger: Any, calls: Counter[str]) -> None:
        self._ledger = ledger
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        async def counted(*arguments: Any) -> Any:
            self._calls[name] += 1
            await asyncio.sleep(0)
            return await getattr(self._ledger, name)(*arguments)

        return counted


async def test_many_requests_cost_redis_one_round() -> None:
    calls: Counter[str] = Counter()
    ledger = CountingLedger(MemoryClaims(MemoryClock()).ledger, calls)
    board = CountingLedger(MemoryPodBoard(), calls)
    fleet: Any = Fleet(ledger, board, MemoryTimelineStore(), [group_of()])
    asked = ("overview", "pods", "totals")
    await asyncio.gather(*(getattr(fleet, name)() for name in asked for _ in range(20)))
    await asyncio.gather(*(fleet.history("g") for _ in range(20)), *(fleet.sources("g") for _ in range(20)))
    assert calls == {
        "now_ms": 3,
        "forgot_ms": 2,
        "minutes": 2,
        "hours": 1,
        "replicas": 1,
        "memory": 1,
        "shared": 1,
        "share": 1,
        "pods": 1,
        "totals": 1,
        "sources": 1,
    }
