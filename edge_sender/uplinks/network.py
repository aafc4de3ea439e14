"""How a hub is reached: directly or on port 443, through a proxy, and with whose certificate authorities."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that opens tunnels (CONNECT)."""

    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, url: str) -> Proxy:
        """`url`: http://[USER:PASSWORD@]HOST[:PORT], checked before."""
        parts = urlsplit(url)
        user = unquote(parts.username) if parts.username else None
        return cls(parts.hostname or "", parts.port or 80, user, unquote(parts.password or "") if user else None)


@dataclass(frozen=True, slots=True)
class Network:
    over_websocket: bool = False
    """On port 443."""
    proxy_url: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    """PEM file of the certificate authorities to trust instead of the public ones."""

    @property
    def proxy(self) -> Proxy | None:
        return None if self.proxy_url is None else Proxy.of(self.proxy_url)

    def of_iot(self) -> dict[str, Any]:
        """Options of the device SDK. Raises OSError if the authorities can't be read."""
        options: dict[str, Any] = {"websockets": self.over_websocket}
        if self.ca_file is not None:
            options["server_verification_cert"] = self.ca_file.read_text()
        if (proxy := self.proxy) is not None:
            from azure.iot.device import ProxyOptions

            options["proxy_options"] = ProxyOptions("HTTP", proxy.host, proxy.port, proxy.user, proxy.password)
        return options

    def of_event_hubs(self) -> dict[str, Any]:
        """Options of the Event Hubs SDK. Raises OSError if the authorities can't be read."""
        from azure.eventhub import TransportType

        options: dict[str, Any] = {
            "transport_type": TransportType.AmqpOverWebsocket if self.over_websocket else TransportType.Amqp
        }
        if self.ca_file is not None:
            options["ssl_context"] = ssl.create_default_context(cafile=str(self.ca_file))
        if (proxy := self.proxy) is not None:
            # The SDK takes the host name for the proxy's URL, so it must have a scheme.
            host = f"[{proxy.host}]" if ":" in proxy.host else proxy.host
            options["http_proxy"] = {"proxy_hostname": f"http://{host}", "proxy_port": proxy.port}
            if proxy.user is not None:
                options["http_proxy"] |= {"username": proxy.user, "password": proxy.password}
        return options

    def of_blobs(self) -> dict[str, Any]:
        """Options of the blob SDK, by which the witness is asked."""
        options: dict[str, Any] = {}
        if self.ca_file is not None:
            options["connection_verify"] = str(self.ca_file)
        if self.proxy_url is not None:
            options["proxies"] = {"http": self.proxy_url, "https": self.proxy_url}
        return options
