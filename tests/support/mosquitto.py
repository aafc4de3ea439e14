"""A real MQTT broker of both versions, over TCP, TLS with client certificates, and WebSocket."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import trustme
from paho.mqtt import publish

from sandbox.peers.processes import free_port
from tests.support.programs import require
from tests.support.senders import until


class Mosquitto:
    """`persistent`: it remembers sessions and retained messages over a restart."""

    def __init__(self, folder: Path, *, persistent: bool = True) -> None:
        self.port, self.websocket_port, self.tls_port = free_port(), free_port(), free_port()
        authority = trustme.CA()
        self.ca_file, self.certificate, self.private_key = (folder / name for name in ("ca.pem", "edge.pem", "edge.key"))
        authority.cert_pem.write_to_path(str(self.ca_file))
        own = authority.issue_cert("localhost", "127.0.0.1")
        own.private_key_pem.write_to_path(str(folder / "broker.key"))
        own.cert_chain_pems[0].write_to_path(str(folder / "broker.pem"))
        edge = authority.issue_cert("edge-a")
        edge.private_key_pem.write_to_path(str(self.private_key))
        edge.cert_chain_pems[0].write_to_path(str(self.certificate))
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"""user root
allow_anonymous true
persistence {str(persistent).lower()}
persistence_location {folder}/
autosave_on_changes true
autosave_interval 1
listener {self.port} 127.0.0.1
listener {self.websocket_port} 127.0.0.1
protocol websockets
listener {self.tls_port} 127.0.0.1
cafile {self.ca_file}
certfile {folder}/broker.pem
keyfile {folder}/broker.key
require_certificate true
"""
        )
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._process = subprocess.Popen([require("mosquitto"), "-c", str(self._config)], stderr=subprocess.DEVNULL)
        for port in (self.port, self.websocket_port, self.tls_port):
            await until(lambda port=port: _answers(port), "the broker does not start")  # type: ignore[misc]  # binds the loop's value

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)

    async def publish(self, *messages: tuple[str, bytes], qos: int = 1, retain: bool = False) -> None:
        batch: list[dict[str, Any]] = [{"topic": t, "payload": p, "qos": qos, "retain": retain} for t, p in messages]
        await asyncio.to_thread(publish.multiple, batch, "127.0.0.1", self.port)


def _answers(port: int) -> bool:
    import socket

    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False
