"""Hubs over TLS with a private authority, under addresses other than their own, and the messages where that fails."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme
from pydantic import SecretStr

from dedup_service.adapters.azure_clients import AzureClients, Network
from dedup_service.adapters.eventhubs.input import EventHubInput
from dedup_service.config.addresses import HubAddress, parse_hub_address
from dedup_service.errors import ConfigurationError, UnavailableError
from sandbox.hub.stand_in import StandIn
from tests.support.gateways import ConnectProxy, connect_proxy, tls_gateway, websocket_gateway

HOST = "hubs.plant.test"
IOT_HUB = "Endpoint=sb://iothub-ns-plant-123-abc.servicebus.windows.net/;EntityPath=plant"


@dataclass
class Plant:
    ca_file: Path
    amqps: int
    websocket: int
    proxy: ConnectProxy
    key: str

    def address(self, endpoint: str) -> HubAddress:
        """Only `endpoint` can be reached: the name of the namespace does not resolve."""
        text = (
            "Endpoint=sb://plant.servicebus.windows.net/;SharedAccessKeyName=RootManageSharedAccessKey;"
            f"SharedAccessKey={self.key};EntityPath=telemetry"
        )
        return parse_hub_address("DEDUP_INPUT_CONNECTION_STRING", SecretStr(text), endpoint)


@pytest.fixture
async def plant(stand_in: StandIn, tmp_path: Path) -> AsyncIterator[Plant]:
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", HOST).configure_cert(tls)
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    async with AsyncExitStack() as stack:
        amqps = await stack.enter_async_context(tls_gateway(stand_in.amqp_port, tls))
        websocket = await stack.enter_async_context(websocket_gateway(stand_in.amqp_port, tls))
        proxy = await stack.enter_async_context(connect_proxy({HOST: websocket}))
        yield Plant(tmp_path / "ca.pem", amqps, websocket, proxy, stand_in.namespace.key)


async def partitions(network: Network, address: HubAddress) -> list[str]:
    azure = AzureClients(network)
    hub = EventHubInput(partial(azure.consumer, address, "dedup"), address.namespace, "", prefetch=10, batch_size=10)
    try:
        return (await hub.info()).partition_ids
    finally:
        await hub.close()
        await azure.close()


async def test_amqp_over_tls_with_a_private_authority(plant: Plant) -> None:
    address = plant.address(f"localhost:{plant.amqps}")
    assert await partitions(Network(ca_file=plant.ca_file), address) == ["0", "1", "2", "3"]


async def test_amqp_over_websocket_without_a_proxy(plant: Plant) -> None:
    address = plant.address(f"localhost:{plant.websocket}")
    network = Network(over_websocket=True, ca_file=plant.ca_file)
    assert await partitions(network, address) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("over_websocket", [False, True])
async def test_a_certificate_that_is_not_trusted_is_not_accepted(plant: Plant, over_websocket: bool) -> None:
    address = plant.address(f"localhost:{plant.websocket if over_websocket else plant.amqps}")
    with pytest.raises(UnavailableError, match="(?i)certificate"):
        await partitions(Network(over_websocket=over_websocket), address)


async def test_a_proxy_that_refuses_is_reported_without_its_password(plant: Plant) -> None:
    def network(password: str) -> Network:
        return Network(proxy=f"http://edge:{quote(password, safe='')}@127.0.0.1:{plant.proxy.port}", ca_file=plant.ca_file)

    assert await partitions(network(plant.proxy.password), plant.address(HOST))
    with pytest.raises(UnavailableError) as caught:
        await partitions(network("hunter2"), plant.address(HOST))
    assert "hunter2" not in str(caught.value)
    assert plant.proxy.refused


def test_iot_hubs_own_endpoint_needs_its_key() -> None:
    with pytest.raises(ConfigurationError, match="^DEDUP_INPUT_CONNECTION_STRING: .*does not support Entra ID") as caught:
        parse_hub_address("DEDUP_INPUT_CONNECTION_STRING", SecretStr(IOT_HUB))
    assert "route" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nonsense", "Endpoint"),
        ("Endpoint=sb://ns.servicebus.windows.net/", "EntityPath"),
        ("Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKey=c2VjcmV0;EntityPath=hub", "SharedAccessKeyName"),
    ],
)
def test_what_a_connection_string_lacks_is_named(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        parse_hub_address("X", SecretStr(text))
    assert "c2VjcmV0" not in str(caught.value)


def test_keys_of_a_connection_string_ignore_case_and_values_keep_it() -> None:
    text = "endpoint=sb://NS.servicebus.windows.net/;EntityPath=Hub;SharedAccessKeyName=n;SharedAccessKey=c2VjcmV0PT0="
    address = parse_hub_address("X", SecretStr(text))
    assert (address.name, address.has_key, address.is_emulator) == (("NS.servicebus.windows.net", "Hub"), True, False)
    assert "c2VjcmV0" not in repr(address)
