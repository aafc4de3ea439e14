"""What one stand-in serves: its hubs, the key of its access policy, and its devices."""

from __future__ import annotations

import base64
import hmac
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sandbox.hub import sas
from sandbox.hub.log import Hub

POLICY = "RootManageSharedAccessKey"
LISTEN, SEND = "Listen", "Send"
POLICIES = {POLICY: frozenset({LISTEN, SEND}), "SendOnly": frozenset({SEND})}
"""The rights of each access policy; all have the namespace's key."""


def new_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def device_key(namespace_key: str, path: str) -> str:
    """Derive a device's key from the namespace's key, as with the enrollment groups of IoT Hub."""
    return base64.b64encode(hmac.digest(namespace_key.encode(), path.encode(), "sha256")).decode()


@dataclass(frozen=True, slots=True)
class Device:
    """An IoT Hub identity: a device, or a module of a device."""

    device_id: str
    module_id: str | None
    key: str = field(repr=False)
    generation_id: str = "638000000000000000"

    @property
    def path(self) -> str:
        return f"{self.device_id}/{self.module_id}" if self.module_id else self.device_id

    @property
    def resource(self) -> str:
        """The resource that the device's tokens must be for, without the host name."""
        module = f"/modules/{self.module_id}" if self.module_id else ""
        return f"devices/{self.device_id}{module}"


@dataclass(slots=True)
class Namespace:
    hubs: dict[str, Hub]
    key: str = field(repr=False, default_factory=new_key)
    devices: dict[str, Device] = field(default_factory=dict)
    iot_hub_name: str = "sandbox.azure-devices.net"
    check_jwt: Callable[[str], float] | None = None
    """Checks tokens of Entra ID, if they are accepted. Returns the expiry (s since the epoch); raises SasError."""

    def hub(self, name: str) -> Hub | None:
        return next((hub for hub in self.hubs.values() if hub.name.lower() == name.lower()), None)

    def authorize(self, token: str, audience: str) -> sas.SasToken:
        """Check a token put on `$cbs` for `audience`. Raises SasError."""
        parsed = sas.parse(token)
        if parsed.policy not in POLICIES:
            raise sas.SasError(f"there is no access policy {parsed.policy!r}")
        sas.verify(parsed, self.key.encode(), time.time())
        if not sas.covers(parsed.resource, sas.path_of(audience)):
            raise sas.SasError(f"the token is for a resource other than {audience}")
        return parsed

    def authorize_jwt(self, token: str) -> float:
        """Check a token of Entra ID and return its expiry (s since the epoch). Raises SasError."""
        if self.check_jwt is None:
            raise sas.SasError("tokens of Entra ID are not accepted here")
        return self.check_jwt(token)

    def authorize_device(self, token: str, path: str) -> Device:
        """Check the MQTT password of the device or module `path` (`device` or `device/module`). Raises SasError."""
        device = self.devices.get(path)
        if device is None:
            raise sas.SasError(f"there is no device {path!r}")
        parsed = sas.parse(token)
        sas.verify(parsed, base64.b64decode(device.key), time.time())
        if sas.path_of(parsed.resource) != device.resource.lower():
            raise sas.SasError(f"the token is for a device other than {path}")
        return device

    def expire(self) -> None:
        now = int(time.time() * 1000)
        for hub in self.hubs.values():
            for partition in hub.partitions:
                partition.expire(now)
