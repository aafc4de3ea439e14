"""`sandbox hub`: the stand-in for IoT Hub and Event Hubs as one process."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from sandbox.hub.amqp_face.broker import Broker
from sandbox.hub.log import DEFAULT_RETENTION_SECONDS, Hub
from sandbox.hub.mqtt_face import MAX_D2C_BYTES, MqttFace
from sandbox.hub.namespace import POLICY, Device, Namespace, device_key, new_key

EXPIRE_INTERVAL_SECONDS = 1.0
RESTART_SECONDS = 2.0
"""How long the hub is unavailable after SIGUSR1."""
TELEMETRY = "telemetry"
"""The hub that devices send to; it has IoT Hub's limits."""


@dataclass(frozen=True, slots=True)
class HubOptions:
    host: str = "127.0.0.1"
    amqp_port: int = 5672
    mqtt_port: int | None = 8883
    hubs: dict[str, int] = field(default_factory=lambda: {TELEMETRY: 4, "clean": 4, "dead-letter": 1})
    consumer_groups: tuple[str, ...] = ("dedup",)
    devices: tuple[str, ...] = ()
    """Each is `device` or `device/module`."""
    retention_seconds: float = DEFAULT_RETENTION_SECONDS
    advertise: str | None = None
    """The host name under which clients reach the hub; default: `host`."""
    key: str | None = field(default=None, repr=False)
    """The key of the access policy; default: a new one on each start."""
    ca_file: Path | None = None
    """Where clients find the certificate authority (PEM); default: a temporary file."""
    also_at: tuple[str, ...] = ()
    """Further addresses under which clients reach the hub, such as those of proxies; the certificate includes them."""

    @property
    def name(self) -> str:
        return self.advertise or self.host


class StandIn:
    """Both faces on one namespace. Start it, read `describe()`, stop it."""

    def __init__(self, options: HubOptions) -> None:
        self.options = options
        hubs = {name: self._hub(name, count) for name, count in options.hubs.items()}
        self.namespace = Namespace(hubs, options.key or new_key())
        for path in options.devices:
            device_id, _, module_id = path.partition("/")
            key = device_key(self.namespace.key, path)
            self.namespace.devices[path] = Device(device_id, module_id or None, key)
        self.amqp_port = options.amqp_port
        self.mqtt_port = options.mqtt_port
        self.ca_file: Path | None = None
        self._broker = Broker(self.namespace)
        self._servers: list[asyncio.Server] = []
        self._mqtt: MqttFace | None = None
        self._expiry: asyncio.Task[None] | None = None

    def _hub(self, name: str, partition_count: int) -> Hub:
        return Hub.create(
            name,
            partition_count,
            set(self.options.consumer_groups),
            retention_seconds=self.options.retention_seconds,
            max_message_size=MAX_D2C_BYTES if name == TELEMETRY else 1024 * 1024,
        )

    async def restart(self, *, seconds_down: float, keep_log: bool) -> None:
        """Act as a hub that was unavailable (`keep_log`), or that was recreated under its old name."""
        ports = [_port(server) for server in self._servers]
        self._close_servers()
        self._broker.disconnect_all()
        if self._mqtt is not None:
            self._mqtt.disconnect_all()
        if not keep_log:
            for name, hub in self.namespace.hubs.items():
                self.namespace.hubs[name] = self._hub(name, len(hub.partitions))
        await asyncio.sleep(seconds_down)
        for port in ports:
            await self._listen(port)
        if self._mqtt is not None:
            await self._mqtt.listen()

    async def _listen(self, port: int) -> int:
        self._servers.append(await self._broker.serve(self.options.host, port))
        return _port(self._servers[-1])

    def _close_servers(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def listen_also(self) -> int:
        """Opens one more AMQP port and returns it. By their ports, `Faults.on_late_ack` tells clients apart."""
        return await self._listen(0)

    async def start(self) -> None:
        self.amqp_port = await self._listen(self.options.amqp_port)
        if self.options.mqtt_port is not None:
            telemetry = self.namespace.hubs.get(TELEMETRY) or next(iter(self.namespace.hubs.values()))
            self._mqtt = MqttFace(self.namespace, telemetry, self._tls())
            self.mqtt_port = await self._mqtt.start(self.options.host, self.options.mqtt_port)
        self._expiry = asyncio.create_task(self._expire())

    async def stop(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._close_servers()
        self._broker.disconnect_all()
        if self._mqtt is not None:
            await self._mqtt.stop()

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE_INTERVAL_SECONDS)
            self.namespace.expire()

    def _tls(self) -> ssl.SSLContext:
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1", self.options.name, *self.options.also_at).configure_cert(context)
        if self.options.ca_file is None:
            with tempfile.NamedTemporaryFile(prefix="sandbox-ca-", suffix=".pem", delete=False) as file:
                self.ca_file = Path(file.name)
        else:
            self.ca_file = self.options.ca_file
        self.ca_file.write_bytes(authority.cert_pem.bytes())
        return context

    def connection_string(self, hub: str) -> str:
        host = f"[{self.options.name}]" if ":" in self.options.name else self.options.name
        return (
            f"Endpoint=sb://{host}:{self.amqp_port}/;SharedAccessKeyName={POLICY};"
            f"SharedAccessKey={self.namespace.key};EntityPath={hub};UseDevelopmentEmulator=true"
        )

    def device_connection_string(self, path: str) -> str:
        device = self.namespace.devices[path]
        module = f";ModuleId={device.module_id}" if device.module_id else ""
        gateway = "localhost" if self.options.name in ("127.0.0.1", "localhost") else self.options.name
        return (
            f"HostName={self.namespace.iot_hub_name};DeviceId={device.device_id}{module};"
            f"SharedAccessKey={device.key};GatewayHostName={gateway}"
        )

    def desire(self, path: str, changes: dict[str, Any]) -> None:
        """Change the desired properties of a twin, as an operator would."""
        assert self._mqtt is not None
        self._mqtt.desire(path, changes)

    def reported(self, path: str) -> dict[str, Any]:
        assert self._mqtt is not None
        return self._mqtt.reported(path)

    def describe(self) -> dict[str, Any]:
        """What a client needs to connect; `sandbox hub` prints it as a JSON line when it is ready."""
        return {
            "ready": True,
            "amqp_port": self.amqp_port,
            "mqtt_port": self.mqtt_port,
            "ca_file": str(self.ca_file) if self.ca_file else None,
            "connection_strings": {name: self.connection_string(name) for name in self.namespace.hubs},
            "devices": {path: self.device_connection_string(path) for path in self.namespace.devices},
        }


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
