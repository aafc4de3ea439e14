"""What is chosen by `nodes`, and how the server is asked for it."""

from __future__ import annotations

from typing import Any

import pytest
from asyncua import ua
from asyncua.server.monitored_item_service import MonitoredItemService

from tests.support.plc import NAMESPACE, Plc, plc, reading
from tests.support.senders import until


async def machines(server: Plc) -> None:
    for machine in ("press", "oven"):
        folder = await server.folder(machine)
        for quantity in ("speed", "state"):
            await server.add(f"{machine}/{quantity}", 1.0, below=folder)


def asked(server: Plc) -> dict[str, tuple[float, int, Any]]:
    """What the server was asked for: publishing interval, queue size and filter of each variable."""
    return {
        item.read_value_id.NodeId.Identifier: (subscription.data.RevisedPublishingInterval, item.queue_size, item.filter)
        for subscription in server.subscriptions
        for item in subscription.monitored_item_srv._monitored_items.values()
        if item.read_value_id is not None and isinstance(item.read_value_id.NodeId.Identifier, str)
    }


async def test_rules_choose_and_overrides_are_asked_for() -> None:
    nodes = {
        "include": [{"path": "/press/**"}, {"node": f"nsu={NAMESPACE};s=oven/s*"}],
        "exclude": [{"path": "/oven/oven&/state"}],
        "overrides": [
            {"path": "/*/*speed", "publishing_ms": 200, "queue_size": 5, "deadband": 0.5, "trigger": "status-value"}
        ],
    }
    async with plc(machines) as server, reading(server.endpoint, namespace_uri=None, nodes=nodes, queue_size=7) as plant:
        await until(lambda: len(plant.names) == 3, "variables are missing")
        requests = asked(server)
        assert {name: wanted[:2] for name, wanted in requests.items()} == {
            "press/speed": (200, 5),
            "press/state": (50, 7),
            "oven/speed": (200, 5),
        }
        band, plain = requests["oven/speed"][2], requests["press/state"][2]
        assert (band.Trigger, band.DeadbandType, band.DeadbandValue) == (
            ua.DataChangeTrigger.StatusValue,
            ua.DeadbandType.Absolute,
            0.5,
        )
        assert (plain.Trigger, plain.DeadbandType) == (ua.DataChangeTrigger.StatusValueTimestamp, ua.DeadbandType.None_)
        speed = server.server.get_node(ua.NodeId("oven/speed", 2))
        for number, value in enumerate((1.3, 1.6, 2.2), start=1):
            await server.show(speed, value, at_ms=number)
        await until(lambda: ("oven/speed", 2.2) in plant.values, "a change is missing")
        assert ("oven/speed", 1.3) not in plant.values


@pytest.mark.parametrize(
    ("accepts", "revised"),
    [
        (lambda wanted: wanted is None or wanted.DeadbandType == ua.DeadbandType.None_, {"deadband refused"}),
        (lambda wanted: wanted is None, {"deadband refused", "trigger refused"}),
    ],
    ids=["no deadbands", "no filters"],
)
async def test_a_filter_that_the_server_refuses_is_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch, accepts: Any, revised: set[str]
) -> None:
    create = MonitoredItemService._create_data_change_monitored_item

    async def strict(service: MonitoredItemService, params: ua.MonitoredItemCreateRequest) -> Any:
        wanted = params.RequestedParameters.Filter
        if isinstance(wanted, ua.ExtensionObject):  # none, as the library decodes it
            wanted = params.RequestedParameters.Filter = None
        if accepts(wanted):
            return await create(service, params)
        return ua.MonitoredItemCreateResult(StatusCode=ua.StatusCode(ua.StatusCodes.BadMonitoredItemFilterUnsupported))

    monkeypatch.setattr(MonitoredItemService, "_create_data_change_monitored_item", strict)
    async with plc(machines) as server, reading(server.endpoint, deadband="2%") as plant:
        await until(lambda: len(plant.names) == 4, "variables are missing")
        told = {what.partition(":")[0]: number for what, number in plant.tally.revised.items()}
        assert {what: told[what] for what in revised} == dict.fromkeys(revised, 4)


async def test_a_heartbeat_repeats_the_last_reading() -> None:
    nodes = {"overrides": [{"path": "/oven/*", "heartbeat_seconds": 0.2}]}
    async with plc(machines) as server, reading(server.endpoint, nodes=nodes) as plant:
        await until(lambda: plant.values.count(("oven/speed", 1.0)) >= 3, "there is no heartbeat")
        repeated = [sample for sample in plant.intake.samples if sample.source.endswith("oven/speed")]
        assert repeated[0] == repeated[1] == repeated[2]
        assert plant.values.count(("press/speed", 1.0)) == 1
