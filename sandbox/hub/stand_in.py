"""`sandbox hub`: the stand-in for IoT Hub and Event Hubs as one process."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from sandbox.hub import certificates, http
from sandbox.hub.amqp_face.broker import Broker
from sandbox.hub.amqp_face.redirect import Endpoint
from sandbox.hub.control import Control
from sandbox.hub.enrollments import Enrollment, Enrollments
from sandbox.hub.entra import JwtKey
from sandbox.hub.log import DEFAULT_RETENTION_SECONDS, Hub
from sandbox.hub.mqtt_face.face import MqttFace
from sandbox.hub.mqtt_face.routes import Route
from sandbox.hub.mqtt_face.telemetry import MAX_D2C_BYTES
from sandbox.hub.namespace import POLICIES, POLICY, SERVICE, Authentication, Device, Namespace, device_key, new_key
from sandbox.hub.throttling import IotHubUnits, Throughput
from sandbox.hub.websocket import OverWebSocket

EXPIRE_INTERVAL_SECONDS = 1.0
RESTART_SECONDS = 2.0
"""How long the hub is unavailable after SIGUSR1."""
TELEMETRY = "telemetry"
"""The hub that devices send to; it has IoT Hub's limits."""


@dataclass(frozen=True, slots=True)
class HubOptions:
    host: str = "127.0.0.1"
    amqp_port: int = 5672
    amqps_port: int | None = None
    """AMQP over TLS; None: not served."""
    websocket_port: int | None = None
    """AMQP and MQTT over WebSocket, with TLS, as on port 443 of Azure; None: not served."""
    mqtt_port: int | None = 8883
    control_port: int | None = None
    """The control API (HTTP); None: not served."""
    hubs: dict[str, int] = field(default_factory=lambda: {TELEMETRY: 4, "clean": 4, "dead-letter": 1})
    consumer_groups: tuple[str, ...] = ("dedup",)
    devices: tuple[str, ...] = ()
    """Each is `device` or `device/module`."""
    x509_devices: tuple[tuple[str, bytes | None], ...] = ()
    """Identities that log in by certificate: by theirs (PEM), or by one of an authority that has their name."""
    authorities: tuple[bytes, ...] = ()
    """Authorities (PEM) that sign certificates of devices."""
    enrollments: tuple[tuple[str, bytes | None], ...] = ()
    """Individual enrollments of the provisioning service: registration ids, each with a key or this certificate (PEM)."""
    enrollment_groups: tuple[tuple[str, bytes | None], ...] = ()
    """Names, each with a key or for certificates of this authority (PEM)."""
    routes: tuple[Route, ...] = ()
    """Of the edgeHub of every device: where messages of its modules go; without any, to the hub."""
    retention_seconds: float = DEFAULT_RETENTION_SECONDS
    advertise: str | None = None
    """The host name under which clients reach the hub; default: `host`."""
    key: str | None = field(default=None, repr=False)
    """The key of the access policy; default: a new one on each start."""
    ca_file: Path | None = None
    """Where clients find the certificate authority (PEM); default: a temporary file."""
    also_at: tuple[str, ...] = ()
    """Further addresses under which clients reach the hub, such as those of proxies; the certificate includes them."""
    policies: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Further access policies, by name, with their rights (`Listen`, `Send`, `Manage`) and the same key."""
    entra_key: bytes | None = field(default=None, repr=False)
    """An RSA public key (PEM) or a secret, which verifies tokens of Entra ID; default: such tokens are refused."""
    throughput_units: int | None = None
    """Which all hubs share; None: nothing is throttled."""
    iot_hub_units: IotHubUnits | None = None
    """By which devices are throttled; None: not at all."""

    @property
    def name(self) -> str:
        return self.advertise or self.host


@dataclass(slots=True)
class Listener:
    """One port, which keeps its number when the stand-in is unavailable for a while."""

    protocol: Callable[[], asyncio.Protocol]
    port: int
    tls: ssl.SSLContext | None = None
    server: asyncio.Server | None = None

    async def open(self, host: str) -> int:
        self.server = await asyncio.get_running_loop().create_server(self.protocol, host, self.port, ssl=self.tls)
        self.port = _port(self.server)
        return self.port

    def close(self) -> None:
        if self.server is not None:
            self.server.close()


class StandIn:
    """All faces on one namespace. Start it, read `describe()`, stop it."""

    def __init__(self, options: HubOptions) -> None:
        self.options = options
        self.telemetry = TELEMETRY if TELEMETRY in options.hubs else next(iter(options.hubs))
        hubs = {name: self._hub(name, count) for name, count in options.hubs.items()}
        self.namespace = Namespace(hubs, options.key or new_key(), {**POLICIES, **options.policies})
        if options.throughput_units is not None:
            self.namespace.throughput = Throughput(options.throughput_units)
        if options.entra_key is not None:
            self.namespace.check_jwt = JwtKey(options.entra_key).check
        self._tls_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificates.accept_clients(self._tls_context)
        self.enrollments = Enrollments(self.namespace, lambda: self._gateway)
        self._make_identities(options)
        self.amqp_port = options.amqp_port
        self.amqps_port = options.amqps_port
        self.websocket_port = options.websocket_port
        self.mqtt_port = options.mqtt_port
        self.control_port = options.control_port
        self.ca_file: Path | None = None
        self.broker = Broker(self.namespace, self._endpoint)
        self._listeners: list[Listener] = []
        self._mqtt = MqttFace(self.namespace, self.enrollments, self.telemetry, options.routes, options.iot_hub_units)
        self._fail_overs = 0
        self._control: asyncio.Server | None = None
        self._expiry: asyncio.Task[None] | None = None

    def _hub(self, name: str, partition_count: int, consumer_groups: Collection[str] = ()) -> Hub:
        return Hub.create(
            name,
            partition_count,
            {*self.options.consumer_groups, *consumer_groups},
            retention_seconds=self.options.retention_seconds,
            max_message_size=MAX_D2C_BYTES if name == self.telemetry else 1024 * 1024,
        )

    def _make_identities(self, options: HubOptions) -> None:
        for path in options.devices:
            self.create_device(path)
        for path, pem in options.x509_devices:
            self.create_x509_device(path, pem)
        for pem in options.authorities:
            self.trust(pem)
        for name, certificate in options.enrollments:
            self.enroll(name, certificate)
        for name, certificate in options.enrollment_groups:
            self.enroll_group(name, certificate)

    def enroll(self, registration: str, pem: bytes | None) -> str | None:
        """Let a device register at the provisioning service: with a new key, which is returned, or with the certificate in
        `pem`."""
        enrollment = self.enrollments.individual[registration] = self._enrollment(pem)
        return enrollment.key

    def enroll_group(self, name: str, pem: bytes | None) -> None:
        """Let devices register that have keys of the group's new key, or certificates of the authority in `pem`."""
        self.enrollments.groups[name] = self._enrollment(pem)

    def _enrollment(self, pem: bytes | None) -> Enrollment:
        if pem is None:
            return Enrollment(new_key())
        self.trust(pem)
        return Enrollment(None, certificates.thumbprints(pem))

    def trust(self, pem: bytes) -> None:
        """Accept these certificates of devices, and those that they have signed."""
        certificates.trust(self._tls_context, pem)

    def create_x509_device(self, path: str, pem: bytes | None) -> None:
        """Make an identity that logs in by the certificates in `pem`; None: by one of an authority that has its name. It
        replaces one of the same name."""
        device_id, _, module_id = path.partition("/")
        kind = Authentication.AUTHORITY if pem is None else Authentication.SELF_SIGNED
        prints = frozenset[str]() if pem is None else certificates.thumbprints(pem)
        if pem is not None:
            self.trust(pem)
        self.namespace.devices[path] = Device(device_id, module_id or None, "", authentication=kind, thumbprints=prints)

    def create_hub(self, name: str, partition_count: int, consumer_groups: Collection[str] = ()) -> None:
        """Make a hub, or make it anew and empty if there is one."""
        self.remove_hub_if_any(name)
        self.namespace.hubs[name] = self._hub(name, partition_count, consumer_groups)

    def remove_hub(self, name: str) -> None:
        """Raises LookupError."""
        if name not in self.namespace.hubs:
            raise LookupError(f"there is no hub {name!r}")
        self.remove_hub_if_any(name)

    def remove_hub_if_any(self, name: str) -> None:
        hub = self.namespace.hubs.pop(name, None)
        if hub is not None:
            self.broker.detach_all(hub)

    def create_device(self, path: str) -> None:
        """Make an identity: `device` or `device/module`. One that exists remains as it is."""
        device_id, _, module_id = path.partition("/")
        key = device_key(self.namespace.key, path)
        self.namespace.devices.setdefault(path, Device(device_id, module_id or None, key))

    def remove_device(self, path: str) -> None:
        """Raises LookupError."""
        if self.namespace.devices.pop(path, None) is None:
            raise LookupError(f"there is no device {path!r}")
        self._mqtt.remove(path)

    def fail_over(self) -> str:
        """Act as an IoT hub that fails over to another region. Returns the new Event Hubs-compatible name.

        Its endpoint gets another name, and what was in the old one can't be read any more. Devices are disconnected once,
        and find their twins unchanged.
        """
        self._fail_overs += 1
        old, self.telemetry = self.telemetry, f"{TELEMETRY}-region-{self._fail_overs + 1}"
        hub = self.namespace.hubs[old]
        self.create_hub(self.telemetry, len(hub.partitions), hub.consumer_groups)
        self._mqtt.send_to(self.telemetry)
        self.remove_hub(old)
        self._mqtt.disconnect_all()
        return self.telemetry

    def _endpoint(self) -> Endpoint:
        """Where the messages of devices are read; over TLS if it is served."""
        scheme, port = ("amqps", self.amqps_port) if self.amqps_port else ("amqp", self.amqp_port)
        return Endpoint(scheme, self.options.name, port, self.telemetry)

    async def restart(self, *, seconds_down: float, keep_log: bool) -> None:
        """Act as a hub that was unavailable (`keep_log`), or that was recreated under its old name."""
        for listener in self._listeners:
            listener.close()
        self._disconnect_all()
        if not keep_log:
            for name, hub in self.namespace.hubs.items():
                self.namespace.hubs[name] = self._hub(name, len(hub.partitions))
        await asyncio.sleep(seconds_down)
        for listener in self._listeners:
            await listener.open(self.options.host)

    def _disconnect_all(self) -> None:
        self.broker.disconnect_all()
        self._mqtt.disconnect_all()

    async def _listen(self, protocol: Callable[[], asyncio.Protocol], port: int, tls: ssl.SSLContext | None = None) -> int:
        listener = Listener(protocol, port, tls)
        self._listeners.append(listener)
        return await listener.open(self.options.host)

    async def listen_also(self) -> int:
        """Opens one more AMQP port and returns it. By their ports, `Faults.on_late_ack` tells clients apart."""
        return await self._listen(self.broker.connection, 0)

    async def start(self) -> None:
        options, tls = self.options, self._tls()
        self.amqp_port = await self._listen(self.broker.connection, options.amqp_port)
        if options.amqps_port is not None:
            self.amqps_port = await self._listen(self.broker.connection, options.amqps_port, tls)
        if options.websocket_port is not None:
            self.websocket_port = await self._listen(self._websocket, options.websocket_port, tls)
        if options.mqtt_port is not None:
            self.mqtt_port = await self._listen(self._mqtt.connection, options.mqtt_port, tls)
        if options.control_port is not None:
            self._control = await http.serve(Control(self).handle, options.host, options.control_port)
            self.control_port = _port(self._control)
        self._expiry = asyncio.create_task(self._expire())

    def _websocket(self) -> asyncio.Protocol:
        amqp = dict.fromkeys(("AMQPWSB10", "amqp"), self.broker.connection)
        return OverWebSocket({**amqp, "mqtt": self._mqtt.connection})

    async def stop(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        for listener in self._listeners:
            listener.close()
        if self._control is not None:
            self._control.close()
        self._disconnect_all()

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE_INTERVAL_SECONDS)
            self.namespace.expire()
            self.broker.end_expired()

    def _tls(self) -> ssl.SSLContext | None:
        """Its certificate, if any of its ports speaks TLS."""
        options = self.options
        if options.mqtt_port is options.amqps_port is options.websocket_port is None:
            return None
        authority = trustme.CA()
        authority.issue_cert("localhost", "127.0.0.1", options.name, *options.also_at).configure_cert(self._tls_context)
        if options.ca_file is None:
            with tempfile.NamedTemporaryFile(prefix="sandbox-ca-", suffix=".pem", delete=False) as file:
                self.ca_file = Path(file.name)
        else:
            self.ca_file = options.ca_file
        self.ca_file.write_bytes(authority.cert_pem.bytes())
        return self._tls_context

    def connection_string(self, hub: str, policy: str = POLICY) -> str:
        return (
            f"Endpoint=sb://{host_of(self.options.name)}:{self.amqp_port}/;SharedAccessKeyName={policy};"
            f"SharedAccessKey={self.namespace.key};EntityPath={hub};UseDevelopmentEmulator=true"
        )

    @property
    def iot_hub_connection_string(self) -> str:
        """Of the IoT hub itself, as services use it that follow a redirect."""
        host = f"{host_of(self.options.name)}:{self.amqp_port}"
        return f"HostName={host};SharedAccessKeyName={SERVICE};SharedAccessKey={self.namespace.key}"

    def device_connection_string(self, path: str) -> str:
        device = self.namespace.devices[path]
        module = f";ModuleId={device.module_id}" if device.module_id else ""
        proof = f"SharedAccessKey={device.key}" if device.authentication is Authentication.SAS else "x509=true"
        return (
            f"HostName={self.namespace.iot_hub_name};DeviceId={device.device_id}{module};"
            f"{proof};GatewayHostName={self._gateway}"
        )

    @property
    def _gateway(self) -> str:
        """The name that devices connect to."""
        return "localhost" if self.options.name in ("127.0.0.1", "localhost") else self.options.name

    def desire(self, path: str, changes: dict[str, Any]) -> None:
        """Change the desired properties of a twin, as an operator would."""
        self._mqtt.desire(path, changes)

    def reported(self, path: str) -> dict[str, Any]:
        return self._mqtt.reported(path)

    def twin(self, path: str) -> dict[str, Any]:
        return self._mqtt.twin(path)

    def send_to_device(self, path: str, body: bytes, properties: Mapping[str, str]) -> None:
        """A cloud-to-device message. Raises QueueFullError."""
        self._mqtt.send(path, body, properties)

    async def call_method(self, path: str, method: str, payload: Any) -> tuple[int, Any]:
        """A direct method; the status and payload that the device answers. Raises NotOnlineError, TimeoutError."""
        return await self._mqtt.call(path, method, payload)

    def describe(self) -> dict[str, Any]:
        """What a client needs to connect; `sandbox hub` prints it as a JSON line when it is ready."""
        return {
            "ready": True,
            "amqp_port": self.amqp_port,
            "amqps_port": self.amqps_port,
            "websocket_port": self.websocket_port,
            "mqtt_port": self.mqtt_port,
            "control": f"http://{host_of(self.options.name)}:{self.control_port}" if self.control_port else None,
            "ca_file": str(self.ca_file) if self.ca_file else None,
            "policies": {name: sorted(rights) for name, rights in self.namespace.policies.items()},
            "iot_hub": self.iot_hub_connection_string,
            "telemetry": self.telemetry,
            "connection_strings": {name: self.connection_string(name) for name in self.namespace.hubs},
            "devices": {path: self.device_connection_string(path) for path in self.namespace.devices},
            "provisioning": self._describe_provisioning(),
        }

    def _describe_provisioning(self) -> dict[str, Any]:
        """The keys of enrollments; null where a certificate is shown."""
        return {
            "host": self._gateway,
            "id_scope": self.enrollments.id_scope,
            "enrollments": {name: enrollment.key for name, enrollment in self.enrollments.individual.items()},
            "enrollment_groups": {name: enrollment.key for name, enrollment in self.enrollments.groups.items()},
        }


def host_of(name: str) -> str:
    """As it stands in a URL."""
    return f"[{name}]" if ":" in name else name


def _port(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


async def run(options: HubOptions, stop: asyncio.Event) -> None:
    stand_in = StandIn(options)
    await stand_in.start()
    restarts: set[asyncio.Task[None]] = set()

    def restart() -> None:
        task = asyncio.create_task(stand_in.restart(seconds_down=RESTART_SECONDS, keep_log=True))
        restarts.add(task)
        task.add_done_callback(restarts.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, restart)
    print(json.dumps(stand_in.describe()), flush=True)
    try:
        await stop.wait()
    finally:
        await stand_in.stop()
        if stand_in.ca_file is not None:
            stand_in.ca_file.unlink(missing_ok=True)
