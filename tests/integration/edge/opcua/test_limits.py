"""Servers that accept little in one request, say so or not, and grant other things than were asked for."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from asyncua import ua

from tests.support.plc import Plc, plc, reading
from tests.support.senders import until

LIMITS = ua.ObjectIds


async def variables(server: Plc, count: int = 150) -> None:
    for number in range(count):
        await server.add(f"v{number}", number)


async def declare(server: Plc, node: int, limit: int) -> None:
    await server.server.get_node(ua.NodeId(node)).write_value(limit, ua.VariantType.UInt32)


@pytest.mark.parametrize(
    "refusal",
    [
        ua.StatusCodes.BadTooManyOperations,
        ua.StatusCodes.BadRequestTooLarge,
        ua.StatusCodes.BadEncodingLimitsExceeded,
        ua.StatusCodes.BadTooManyMonitoredItems,
    ],
)
async def test_a_limit_that_the_server_does_not_name_is_found(refusal: int) -> None:
    async with (
        plc(variables, most={"monitor": 100, "browse": 40}, refusal=refusal) as server,
        reading(server.endpoint) as plant,
    ):
        await until(lambda: len(plant.names) == 150, "variables are missing")
        assert plant.tally.subscribed == 150
        assert not plant.tally.left_out


async def test_a_limit_that_the_server_names_is_kept_at_once() -> None:
    async def prepare(server: Plc) -> None:
        await variables(server)
        await declare(server, LIMITS.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall, 100)
        await declare(server, LIMITS.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse, 60)

    async with plc(prepare, most={"monitor": 100, "browse": 60}) as server, reading(server.endpoint) as plant:
        await until(lambda: len(plant.names) == 150, "variables are missing")
        assert max(server.sizes["monitor"]) == 100
        assert max(server.sizes["browse"]) == 60


async def test_as_many_subscriptions_are_made_as_the_variables_take() -> None:
    async def prepare(server: Plc) -> None:
        await variables(server, 25)
        await declare(server, LIMITS.Server_ServerCapabilities_MaxMonitoredItemsPerSubscription, 10)

    async with plc(prepare) as server, reading(server.endpoint) as plant:
        await until(lambda: len(plant.names) == 25, "variables are missing")
        await until(lambda: server.item_counts == [6, 10, 10], "the events that tell of new nodes are not subscribed to")


async def test_what_does_not_fit_is_listed_and_the_rest_is_read() -> None:
    async def prepare(server: Plc) -> None:
        await variables(server, 25)
        await declare(server, LIMITS.Server_ServerCapabilities_MaxMonitoredItemsPerSubscription, 10)
        server.server.iserver.max_subscriptions = 2

    async with plc(prepare) as server, reading(server.endpoint) as plant:
        await until(lambda: len(plant.names) == 20, "variables are missing")
        assert set(plant.tally.left_out.values()) == {"the server grants no further subscription"}
        assert len(plant.tally.left_out) == 5


async def test_what_the_server_revised_is_told_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def prepare(server: Plc) -> None:
        await variables(server, 3)
        server.server.iserver.max_monitored_item_queue_size = 1
        service = server.server.iserver.subscription_service
        create = service.create_subscription

        async def revise(params: ua.CreateSubscriptionParameters, *rest: Any, **more: Any) -> Any:
            params.RequestedPublishingInterval = 200.0
            params.RequestedLifetimeCount = 500
            return await create(params, *rest, **more)

        monkeypatch.setattr(service, "create_subscription", revise)

    caplog.set_level(logging.WARNING)
    async with plc(prepare) as server, reading(server.endpoint, queue_size=10, publishing_ms=50) as plant:
        await until(lambda: len(plant.names) == 3, "variables are missing")
        assert plant.tally.revised == {
            "publishing_ms 200 instead of 50": 1,
            "lifetime 100 s instead of 7200 s: what is interrupted for longer loses readings": 1,
            "queue_size 1 instead of 10": 3,
            "sampling_ms 200 instead of 0": 3,
        }
        assert caplog.text.count("queue_size 1 instead of 10 (3 times)") == 1
