"""What one stand-in serves: its hubs, the key of its access policy, and its devices."""

from __future__ import annotations

import base64
import hmac
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from sandbox.hub import sas
from sandbox.hub.certificates import ClientCertificate
from sandbox.hub.log import Hub
from sandbox.hub.throttling import Throughput

POLICY = "RootManageSharedAccessKey"
LISTEN, SEND = "Listen", "Send"
MANAGE = "Manage"
RIGHTS = frozenset({LISTEN, SEND, MANAGE})
SERVICE = "service"
"""The access policy of an IoT hub that may read the messages of its devices."""
POLICIES = {POLICY: RIGHTS, "SendOnly": frozenset({SEND}), SERVICE: frozenset({LISTEN})}
"""The rights of each access policy that there always is; all have the namespace's key."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token grants."""

    resource: str
    expiry: float
    """Seconds since the epoch."""
    rights: frozenset[str]

    def covers(self, path: str) -> bool:
        return sas.covers(self.resource, path)


def new_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def device_key(namespace_key: str, path: str) -> str:
    """Derive a device's key from the namespace's key, as with the enrollment groups of IoT Hub."""
    return base64.b64encode(hmac.digest(namespace_key.encode(), path.encode(), "sha256")).decode()


class Authentication(StrEnum):
    """How an identity logs in. The names are IoT Hub's."""

    SAS = "sas"
    SELF_SIGNED = "selfSigned"
    """By a certificate with one of the identity's thumbprints."""
    AUTHORITY = "certificateAuthority"
    """By a certificate of an authority, whose common name is that of the identity."""


@dataclass(frozen=True, slots=True)
class Device:
    """An IoT Hub identity: a device, or a module of a device."""

    device_id: str
    module_id: str | None
    key: str = field(repr=False)
    generation_id: str = "638000000000000000"
    authentication: Authentication = Authentication.SAS
    thumbprints: frozenset[str] = frozenset()

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
    policies: dict[str, frozenset[str]] = field(default_factory=lambda: dict(POLICIES))
    devices: dict[str, Device] = field(default_factory=dict)
    iot_hub_name: str = "sandbox.azure-devices.net"
    check_jwt: Callable[[str], float] | None = None
    """Checks tokens of Entra ID, if they are accepted. Returns the expiry (s since the epoch); raises SasError."""
    throughput: Throughput | None = None
    """The throughput units of all hubs; None: nothing is throttled."""

    def hub(self, name: str) -> Hub | None:
        return next((hub for hub in self.hubs.values() if hub.name.lower() == name.lower()), None)

    def authorize(self, token: str, audience: str) -> Grant:
        """Check a token for `audience`: a shared access signature, or a JWT of Entra ID. Raises SasError."""
        if not token.startswith(sas.SCHEME):
            if self.check_jwt is None:
                raise sas.SasError("InvalidToken: tokens of Entra ID are not accepted here.")
            return Grant("sb://namespace/", self.check_jwt(token), RIGHTS)  # a role assigned on the namespace
        parsed = sas.parse(token)
        rights = self.policies.get(str(parsed.policy))
        if rights is None:
            raise sas.SasError(f"InvalidSignature: there is no access policy {parsed.policy!r}.")
        sas.verify(parsed, self.key.encode(), time.time())
        if not sas.covers(parsed.resource, sas.path_of(audience)):
            raise sas.SasError(f"InvalidAudience: the token is for a resource other than {audience}.")
        return Grant(parsed.resource, parsed.expiry, rights)

    def authorize_device(self, token: str, path: str, certificate: ClientCertificate | None = None) -> tuple[Device, float]:
        """Check the MQTT password of the device or module `path` (`device` or `device/module`), or its certificate. Returns
        it, and the token's expiry (s since the epoch). Raises SasError."""
        device = self.devices.get(path)
        if device is None:
            raise sas.SasError(f"there is no device {path!r}")
        if device.authentication is not Authentication.SAS:
            self._check_certificate(device, certificate)
            return device, math.inf
        parsed = sas.parse(token)
        sas.verify(parsed, base64.b64decode(device.key), time.time())
        if sas.path_of(parsed.resource) != device.resource.lower():
            raise sas.SasError(f"the token is for a device other than {path}")
        return device, parsed.expiry

    def _check_certificate(self, device: Device, certificate: ClientCertificate | None) -> None:
        """Raises SasError."""
        if certificate is None:
            raise sas.SasError(f"{device.path} logs in by certificate, and showed none")
        if device.authentication is Authentication.SELF_SIGNED:
            if certificate.thumbprint not in device.thumbprints:
                raise sas.SasError(f"the certificate has none of the thumbprints of {device.path}")
        elif certificate.common_name != device.path or self.is_self_signed(certificate):
            raise sas.SasError(f"the certificate is not one of an authority for {device.path}")

    def is_self_signed(self, certificate: ClientCertificate) -> bool:
        """Whether it is trusted as itself, and not because an authority has signed it."""
        return any(certificate.thumbprint in device.thumbprints for device in self.devices.values())

    def expire(self) -> None:
        now = int(time.time() * 1000)
        for hub in self.hubs.values():
            for partition in hub.partitions:
                partition.expire(now)
