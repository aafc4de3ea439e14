"""Makes all clients of the Azure SDKs: with a key or with Entra ID, directly, over WebSocket or through a proxy, and with
the certificate authorities that the operator trusts."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import certifi
from azure.eventhub import TransportType
from azure.eventhub.aio import CheckpointStore, EventHubConsumerClient, EventHubProducerClient

from dedup_service.adapters.azure_errors import close_quietly
from dedup_service.config.addresses import HubAddress

DEFAULT_CONTAINER = "dedup-checkpoints"
HUB_OPTIONS: dict[str, Any] = {"retry_total": 0, "retry_backoff_factor": 0}
"""This service retries by itself. Even without retries, the SDK would pause for 0.8 s before it tells of a failure."""
BLOB_OPTIONS: dict[str, Any] = {"retry_total": 0, "connection_timeout": 5, "read_timeout": 5}
"""By default, one call to an unreachable store takes a minute and a half; this service retries by itself."""


@dataclass(frozen=True, slots=True)
class Network:
    """How this service reaches Azure."""

    over_websocket: bool = False
    """AMQP on port 443."""
    proxy: str | None = field(default=None, repr=False)
    """http://[USER:PASSWORD@]HOST:PORT; implies `over_websocket`."""
    ca_file: Path | None = None
    """PEM file of the certificate authorities to trust instead of the public ones."""

    def of_http(self) -> dict[str, Any]:
        """Options for the SDKs that speak HTTP: blobs and Entra ID."""
        options: dict[str, Any] = {}
        if self.ca_file is not None:
            options["connection_verify"] = str(self.ca_file)
        if self.proxy is not None:
            options["proxies"] = {"http": self.proxy, "https": self.proxy}
        return options

    def of_hubs(self) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if self.over_websocket or self.proxy is not None:
            options["transport_type"] = TransportType.AmqpOverWebsocket
        else:
            options["transport_type"] = TransportType.Amqp
        if self.proxy is not None:
            options["http_proxy"] = _sdk_proxy(self.proxy)
        return options

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file is not None else certifi.where())


def _sdk_proxy(url: str) -> dict[str, Any]:
    """The asynchronous SDK uses the host name as the proxy's URL, so it must have a scheme."""
    parts = urlsplit(url)
    options: dict[str, Any] = {"proxy_hostname": f"{parts.scheme}://{parts.hostname}", "proxy_port": parts.port or 80}
    if parts.username:
        options |= {"username": unquote(parts.username), "password": unquote(parts.password or "")}
    return options


class AzureClients:
    def __init__(self, network: Network) -> None:
        self._network = network
        self._credential: Any = None
        self._tls = network.tls()
        """Shared by all connections: the SDK would load all authorities for each, and it connects for each metadata
        request."""

    def credential(self) -> Any:
        """The one Entra ID credential, from AKS (workload identity), a managed identity or a developer's `az login`."""
        if self._credential is None:
            from azure.identity.aio import DefaultAzureCredential

            self._credential = DefaultAzureCredential(**self._network.of_http())
        return self._credential

    def consumer(self, address: HubAddress, consumer_group: str, **options: Any) -> EventHubConsumerClient:
        options |= self._hub_options(address)
        if address.has_key:
            text = address.connection_string.get_secret_value()
            return EventHubConsumerClient.from_connection_string(text, consumer_group, **options)
        return EventHubConsumerClient(address.namespace, address.hub, consumer_group, self.credential(), **options)

    def producer(self, address: HubAddress) -> EventHubProducerClient:
        options = self._hub_options(address)
        if address.has_key:
            text = address.connection_string.get_secret_value()
            return EventHubProducerClient.from_connection_string(text, **options)
        return EventHubProducerClient(address.namespace, address.hub, self.credential(), **options)

    def _hub_options(self, address: HubAddress) -> dict[str, Any]:
        options = {**HUB_OPTIONS, **self._network.of_hubs(), "ssl_context": self._tls}
        if address.endpoint is not None:
            options["custom_endpoint_address"] = address.endpoint
        elif address.namespace.startswith("["):  # the SDK takes an IPv6 address only here
            options["custom_endpoint_address"] = address.namespace
        if address.is_emulator:
            options["use_tls"] = False
        return options

    def blob_store(self, url: str) -> CheckpointStore:
        """Takes a URL (with a SAS, or for Entra ID) or a connection string. Raises ValueError, whose message may hold
        secrets."""
        from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore

        options = {**BLOB_OPTIONS, **self._network.of_http()}
        if url.startswith(("https://", "http://")):
            address, _, signature = url.partition("?")
            account, _, container = address.rstrip("/").rpartition("/")
            if not container or account.endswith(":/"):
                raise ValueError("no container")
            if signature:
                return BlobCheckpointStore(f"{account}?{signature}", container, **options)
            return BlobCheckpointStore(account, container, credential=self.credential(), **options)
        parts = [part for part in url.split(";") if part]
        names = [part.partition("=")[2] for part in parts if part.startswith("ContainerName=")]
        connection_string = ";".join(part for part in parts if not part.startswith("ContainerName="))
        container = names[0] if names else DEFAULT_CONTAINER
        return BlobCheckpointStore.from_connection_string(connection_string, container, **options)

    async def close(self) -> None:
        if self._credential is not None:
            await close_quietly(self._credential)
