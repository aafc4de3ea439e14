"""The provisioning service (DPS): who may register, and as what.

Source: https://learn.microsoft.com/azure/iot-dps/concepts-service (enrollments) and
https://learn.microsoft.com/azure/iot-dps/concepts-symmetric-key-attestation (keys of a group's devices)
"""

from __future__ import annotations

import base64
import hmac
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sandbox.hub import sas
from sandbox.hub.certificates import ClientCertificate
from sandbox.hub.namespace import Authentication, Device, Namespace

ID_SCOPE = "0ne00SANDBOX"


@dataclass(frozen=True, slots=True)
class Enrollment:
    """Of one device, or of a group."""

    key: str | None = field(default=None, repr=False)
    """None: its devices show a certificate."""
    thumbprints: frozenset[str] = frozenset()
    """Of the certificates that the device may show; a group accepts every one of an authority."""


@dataclass(slots=True)
class Enrollments:
    namespace: Namespace
    hub: Callable[[], str]
    """The address of the hub to which devices are assigned."""
    id_scope: str = ID_SCOPE
    individual: dict[str, Enrollment] = field(default_factory=dict)
    """By registration id, which is the name of the device."""
    groups: dict[str, Enrollment] = field(default_factory=dict)

    def authorize(
        self, id_scope: str, registration: str, token: str, shown: ClientCertificate | None
    ) -> tuple[Device, float]:
        """The device that this client is to become, and its token's expiry (s since the epoch). Raises SasError."""
        if id_scope != self.id_scope:
            raise sas.SasError(f"there is no provisioning service with the scope {id_scope!r}")
        enrollment = self.individual.get(registration)
        if shown is not None and not token:
            self._check(registration, shown, enrollment)
            prints = frozenset({shown.thumbprint})
            return Device(registration, None, "", authentication=Authentication.SELF_SIGNED, thumbprints=prints), math.inf
        for key in self._keys(registration, enrollment):
            try:
                return Device(registration, None, key), self._verified(token, key, registration)
            except sas.SasError as error:
                refusal = error
        raise refusal

    def _check(self, registration: str, shown: ClientCertificate, enrollment: Enrollment | None) -> None:
        """Raises SasError."""
        if shown.common_name != registration:
            raise sas.SasError(f"the certificate of {shown.common_name!r} is not one for {registration!r}")
        if enrollment is not None and shown.thumbprint not in enrollment.thumbprints:
            raise sas.SasError(f"the certificate is not the one with which {registration!r} is enrolled")
        if enrollment is None and not any(group.key is None for group in self.groups.values()):
            raise sas.SasError(f"{registration!r} is not enrolled with a certificate")

    def _keys(self, registration: str, enrollment: Enrollment | None) -> list[str]:
        """Those with which its token may be signed. An individual enrollment precedes the groups. Raises SasError."""
        if enrollment is not None:
            keys = [enrollment.key]
        else:
            keys = [group_device_key(group.key, registration) for group in self.groups.values() if group.key is not None]
        if found := [key for key in keys if key is not None]:
            return found
        raise sas.SasError(f"{registration!r} is not enrolled with a key")

    def _verified(self, token: str, key: str, registration: str) -> float:
        """Raises SasError."""
        parsed = sas.parse(token)
        sas.verify(parsed, base64.b64decode(key), time.time())
        if parsed.resource.lower() != f"{self.id_scope}/registrations/{registration}".lower():
            raise sas.SasError(f"the token is for a registration other than {registration}")
        return parsed.expiry

    def assign(self, device: Device) -> None:
        """Make the identity; one that exists gets what the device has shown, as when it registers with a renewed
        certificate."""
        self.namespace.devices[device.path] = device


def group_device_key(group_key: str, registration: str) -> str:
    """The key of a group's device: HMAC-SHA256 of its registration id with the group's key."""
    return base64.b64encode(hmac.digest(base64.b64decode(group_key), registration.encode(), "sha256")).decode()
