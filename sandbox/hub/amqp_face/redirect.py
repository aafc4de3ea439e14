"""Where an IoT hub sends those who want to read its messages at its own address: to its Event Hubs-compatible endpoint.

That endpoint moves when the IoT hub fails over, while its own address remains. Source:
https://learn.microsoft.com/azure/iot-hub/iot-hub-amqp-support and OASIS AMQP 1.0, 2.8.17.
"""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.amqp.codec import Uint
from sandbox.amqp.performatives import AmqpError

IOT_HUB = "messages"
"""The first part of the addresses that belong to an IoT hub, and not to an event hub."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The Event Hubs-compatible endpoint of an IoT hub. `hub`: its Event Hubs-compatible name."""

    scheme: str
    host: str
    port: int
    hub: str

    @property
    def address(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}/{self.hub}/"


def is_iot_hubs(node: str) -> bool:
    """Whether messages of devices are read at this address as at an IoT hub's."""
    return f"{node.lower()}/".startswith(f"{IOT_HUB}/events/")


def redirect(to: Endpoint) -> AmqpError:
    info = {"hostname": to.host, "network-host": to.host, "port": Uint(to.port), "address": to.address}
    return AmqpError("amqp:link:redirect", f"The messages are read at '{to.address}'.", info)
