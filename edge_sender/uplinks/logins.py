"""How this gateway proves who it is to IoT Hub: by a key or a certificate, by what a provisioning service assigns, or by the
IoT Edge runtime. Each makes the SDK's client."""

from __future__ import annotations

import base64
import contextlib
import hmac
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from azure.iot.device import X509, ProvisioningDeviceClient
from azure.iot.device.aio import IoTHubDeviceClient, IoTHubModuleClient

from edge_sender.ports import UplinkError
from edge_sender.uplinks.network import Network
from edge_sender.uplinks.reasons import reason
from edge_sender.uplinks.twin import TROUBLE

CONNECTION = {"keep_alive": 15, "connection_retry_interval": 60}
"""In seconds: the MQTT keep-alive, by which a dead connection is noticed, and the pause between the SDK's own attempts to
reconnect, after a first one at once. Whoever sends comes before them. Without these attempts, the SDK would give up what is
in flight as soon as the connection is lost, and each of these messages would be sent twice."""


class Login(Protocol):
    @property
    def is_assigned(self) -> bool:
        """Whether somebody else says which hub it is; one that refuses this gateway may be the former one."""
        ...

    def make(self) -> Any:
        """A new client of the SDK. It may block. Raises UplinkError, or ValueError or OSError for what is wrong here."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """What a client is made from; when one of them changes, a new client is due."""
        ...


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate (with its chain) and its key, as PEM files."""

    certificate: Path
    private_key: Path

    @property
    def files(self) -> tuple[Path, ...]:
        return self.certificate, self.private_key

    def check(self) -> None:
        """Raises ValueError. The SDK would ask the terminal for the password of an encrypted key."""
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(self.certificate, self.private_key, lambda: b"")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise ValueError(f"{self.certificate} and {self.private_key} are no certificate and its key ({why})") from None

    @property
    def x509(self) -> X509:
        """Raises ValueError."""
        self.check()
        return X509(str(self.certificate), str(self.private_key))


@dataclass(frozen=True, slots=True)
class ConnectionStringLogin:
    """A module if the connection string names one, otherwise a device; with `x509=true` and a certificate, or with a key."""

    connection_string: str = field(repr=False)
    network: Network
    pair: KeyPair | None = None
    is_assigned: ClassVar[bool] = False

    @property
    def files(self) -> tuple[Path, ...]:
        return _files(self.network, self.pair)

    def make(self) -> Any:
        options = {**CONNECTION, **self.network.of_iot()}
        named = dict(part.partition("=")[::2] for part in self.connection_string.split(";"))
        kind = IoTHubModuleClient if "ModuleId" in named else IoTHubDeviceClient
        if self.pair is None:
            return kind.create_from_connection_string(self.connection_string, **options)
        if not named.get("HostName") or not named.get("DeviceId"):
            raise ValueError("no HostName or no DeviceId")
        identity = {"hostname": named["HostName"], "device_id": named["DeviceId"]}
        if "ModuleId" in named:
            identity["module_id"] = named["ModuleId"]
        if "GatewayHostName" in named:
            options["gateway_hostname"] = named["GatewayHostName"]
        return kind.create_from_x509_certificate(x509=self.pair.x509, **identity, **options)


@dataclass(frozen=True, slots=True)
class ProvisionedLogin:
    """A device that registers with a provisioning service (DPS), by its key or its certificate, and gets its hub there."""

    host: str
    id_scope: str
    registration_id: str
    key: str | None = field(repr=False)
    network: Network
    pair: KeyPair | None = None
    is_assigned: ClassVar[bool] = True

    @property
    def files(self) -> tuple[Path, ...]:
        return _files(self.network, self.pair)

    def make(self) -> Any:
        options = self.network.of_iot()
        registering = self._registering(options)
        try:
            result = registering.register()
        except TROUBLE as error:
            _end(registering)
            raise UplinkError(f"the provisioning service {self.host}: {reason(error)}") from error
        if result.status != "assigned":
            _end(registering)
            raise UplinkError(f"the provisioning service assigned no hub to {self.registration_id}: {result.status}")
        state = result.registration_state
        given = {"hostname": state.assigned_hub, "device_id": state.device_id, **CONNECTION, **options}
        if self.pair is not None:
            return IoTHubDeviceClient.create_from_x509_certificate(x509=self.pair.x509, **given)
        return IoTHubDeviceClient.create_from_symmetric_key(symmetric_key=self.key, **given)

    def _registering(self, options: dict[str, Any]) -> Any:
        given = {"provisioning_host": self.host, "id_scope": self.id_scope, "registration_id": self.registration_id}
        if self.pair is not None:
            return ProvisioningDeviceClient.create_from_x509_certificate(x509=self.pair.x509, **given, **options)
        return ProvisioningDeviceClient.create_from_symmetric_key(symmetric_key=self.key, **given, **options)


def _end(registering: Any) -> None:
    """The SDK ends the threads and the connection of a registration that has succeeded, and has no call for one that has
    failed: each attempt would leave a thread behind for an hour. Without what is called here, it is as the SDK has it."""
    pipeline = getattr(registering, "_pipeline", None)
    if pipeline is not None:
        with contextlib.suppress(*TROUBLE, AttributeError):
            pipeline.shutdown(callback=lambda error=None: None)


def key_in_group(group_key: str, registration_id: str) -> str:
    """The key of a device of an enrollment group, whose own is base64.

    Source: https://learn.microsoft.com/azure/iot-dps/concepts-symmetric-key-attestation#group-enrollments
    """
    key = base64.b64decode(group_key)
    return base64.b64encode(hmac.digest(key, registration_id.encode(), "sha256")).decode()


@dataclass(frozen=True, slots=True)
class RuntimeLogin:
    """A module of the IoT Edge runtime (IOTEDGE_*), or of its debugger (EdgeHubConnectionString). After a boot the runtime's
    workload API, which signs its tokens, may come later than the module."""

    network: Network
    is_assigned: ClassVar[bool] = False

    @property
    def files(self) -> tuple[Path, ...]:
        return ()

    def make(self) -> Any:
        try:
            return IoTHubModuleClient.create_from_edge_environment(websockets=self.network.over_websocket, **CONNECTION)
        except (*TROUBLE, ValueError) as error:
            why = error.__cause__ or error
            raise UplinkError(f"the IoT Edge runtime's workload API does not answer as it should: {why}") from error


def _files(network: Network, pair: KeyPair | None) -> tuple[Path, ...]:
    return (*(pair.files if pair is not None else ()), *([network.ca_file] if network.ca_file is not None else ()))


def state_of(files: tuple[Path, ...]) -> tuple[object, ...]:
    """Differs when one of them was written or replaced."""
    return tuple(_stat(file) for file in files)


def _stat(file: Path) -> object:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
