"""An IoT hub's own address leads to its Event Hubs-compatible endpoint, also after that has moved."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest
from azure.eventhub._pyamqp.error import AMQPLinkRedirect, TokenAuthFailure

from sandbox.hub.stand_in import StandIn
from tests.support import hub
from tests.support.iot_hub import control, running_iot_hub, sdk, until


def at(endpoint: str, name: str, stand_in: StandIn, policy: str = "service") -> str:
    """A connection string for the SDK. `endpoint`: host and port."""
    key = stand_in.namespace.key
    rest = f"SharedAccessKeyName={policy};SharedAccessKey={key};EntityPath={name};UseDevelopmentEmulator=true"
    return f"Endpoint=sb://{endpoint}/;{rest}"


async def redirected(stand_in: StandIn) -> str:
    """A connection string of the endpoint to which the IoT hub redirects its readers."""
    own = stand_in.describe()["iot_hub"].partition(";")[0].removeprefix("HostName=")
    with pytest.raises(AMQPLinkRedirect) as raised:
        await hub.opening(at(own, "messages/events", stand_in))
    told, address = raised.value, urlsplit(raised.value.address)
    assert (told.hostname, told.port) == (address.hostname, address.port)
    return at(address.netloc, address.path.strip("/"), stand_in)


async def test_who_reads_at_the_iot_hubs_own_address_is_redirected_to_its_endpoint() -> None:
    async with running_iot_hub() as iot_hub:
        device = await sdk(iot_hub)
        await device.send_message("hello")
        assert [hub.body(event) for event in await hub.read_all(await redirected(iot_hub))] == [b"hello"]
        await device.shutdown()


async def test_after_a_fail_over_the_endpoint_is_another_and_the_old_one_refuses() -> None:
    async with running_iot_hub() as iot_hub:
        old = await redirected(iot_hub)
        device = await sdk(iot_hub)
        await device.patch_twin_reported_properties({"site": "north"})
        await device.send_message("before")
        moved = await asyncio.to_thread(control, iot_hub, "POST", "/failover")
        await until(lambda: not device.connected)
        new = await redirected(iot_hub)
        assert new != old
        with pytest.raises(TokenAuthFailure):
            await hub.opening(old)
        again = await sdk(iot_hub)
        await again.send_message("after")
        assert (await again.get_twin())["reported"]["site"] == "north"
        assert [hub.body(event) for event in await hub.read_all(new)] == [b"after"]
        assert [hub.body(event) for event in await hub.read_all(moved["connection_string"])] == [b"after"]
        await asyncio.gather(device.shutdown(), again.shutdown())
