"""What becomes of a subscription when the server, the connection or the subscription itself goes away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from asyncua import ua

from edge_sender.sources.opcua import items
from edge_sender.sources.opcua.items import Item
from edge_sender.sources.opcua.subscribing import Subscriptions
from edge_sender.sources.opcua.subscription import Subscription
from tests.support.plc import Plc, Reading, plc, reading
from tests.support.senders import until


async def heard(plant: Reading, times: int) -> None:
    """Wait until the subscription was heard of so often."""
    assert plant.source._session is not None
    subscriptions = plant.source._session._subscriptions
    assert isinstance(subscriptions, Subscriptions)
    (subscription,) = subscriptions.open.values()
    seen: set[float] = set()

    def is_enough() -> bool:
        seen.add(subscription.heard_at)
        return len(seen) > times

    await until(is_enough, "the server is silent")


@pytest.mark.parametrize("slower", [1, 4], ids=["as asked", "revised by the server"])
async def test_a_subscription_that_the_server_drops_is_recreated(monkeypatch: pytest.MonkeyPatch, slower: int) -> None:
    """The server keeps the connection and stays silent. A live subscription is left alone."""
    monkeypatch.setattr(items, "KEEP_ALIVE_SECONDS", 0.1)
    async with plc() as server:
        variable = await server.add("a")
        service = server.server.iserver.subscription_service
        create = service.create_subscription

        async def revise(params: ua.CreateSubscriptionParameters, *rest: Any, **more: Any) -> Any:
            params.RequestedPublishingInterval *= slower
            return await create(params, *rest, **more)

        monkeypatch.setattr(service, "create_subscription", revise)
        async with reading(server.endpoint) as plant:
            await until(lambda: len(plant.values) == 1, "the server is not read")
            before = list(service.subscriptions)
            await heard(plant, 8)  # more than twice as long as silence may last
            assert list(service.subscriptions) == before
            await service.delete_subscriptions(before)
            await server.show(variable, 1, at_ms=1)
            await until(lambda: ("a", 1) in plant.values, "nothing is read any more")
            assert plant.source.is_up
            assert plant.tally.lost["interruption"] == 1


async def test_variables_that_a_restarted_server_has_only_later_are_read_again() -> None:
    async def machine(server: Plc) -> None:
        variable = await server.add("a", 1.0, below=await server.folder("machine"))
        await variable.add_property(server.index(), "unit", "°C")  # not a source

    first = plc(machine)
    server = await first.__aenter__()
    async with reading(server.endpoint) as plant:
        await until(lambda: plant.values == [("a", 1.0)], "the first server is not read")
        await first.__aexit__(None, None, None)
        async with plc(port=server.port) as again:
            await until(lambda: not plant.source.is_up, "the source seems to be up")
            await until(lambda: len(again.opened) >= 3, "it does not try again")
            assert not plant.source.is_up
            await machine(again)
            await until(lambda: len(plant.values) == 2, "the late variable is not read")


async def test_a_connection_that_is_lost_while_new_variables_are_subscribed_to_costs_none_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answer that would have said what the server did is lost."""
    ask = Subscriptions._request
    failures = iter([OSError("cut")])

    async def cut(subscriptions: Subscriptions, subscription: Subscription, wanted: Sequence[Item]) -> Any:
        late = any(item.uri.endswith("s=late") for item in wanted)
        if late and (failure := next(failures, None)) is not None:
            raise failure
        return await ask(subscriptions, subscription, wanted)

    monkeypatch.setattr(Subscriptions, "_request", cut)
    async with plc() as server:
        await server.add("a", 1)
        async with reading(server.endpoint, browse_seconds=1) as plant:
            await until(lambda: plant.names == {"a"}, "the server is not read")
            await server.add("late", 2)
            await until(lambda: plant.names == {"a", "late"}, "the new variable is not read")
            assert plant.tally.lost["interruption"] == 1
