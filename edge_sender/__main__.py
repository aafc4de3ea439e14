"""`edge-sender run`: the composition root of the edge."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import time

from edge_sender.batcher import BatchLimits
from edge_sender.identity import parse_rules
from edge_sender.ports import Uplink
from edge_sender.sender import Sender, SenderOptions
from edge_sender.settings import EdgeSettings, SettingsError, load
from edge_sender.sources.opcua import OpcUaSource


def make_uplink(settings: EdgeSettings) -> Uplink:
    """Raises SettingsError."""
    try:
        return _uplink(settings)
    except ValueError:  # its message may hold the key
        raise SettingsError(
            "EDGE_CONNECTION_STRING: is no connection string, for example "
            "EDGE_CONNECTION_STRING=HostName=hub.azure-devices.net;DeviceId=edge-a;SharedAccessKey=…"
        ) from None


def _uplink(settings: EdgeSettings) -> Uplink:
    """The SDKs are imported where they are chosen: a gateway needs only one of them in memory."""
    timeout = settings.send_timeout_seconds
    secret = settings.connection_string.get_secret_value() if settings.connection_string else ""
    if settings.uplink == "event-hubs":
        from edge_sender.uplinks.eventhubs import EventHubsUplink

        return EventHubsUplink(secret, settings.replica or "", timeout_seconds=timeout)
    from edge_sender.uplinks.iot import IotUplink

    if settings.uplink == "iot-edge":
        return IotUplink.from_edge_environment(timeout)
    try:
        ca_pem = settings.ca_file.read_text() if settings.ca_file else None
    except OSError as error:
        raise SettingsError(
            f"EDGE_CA_FILE: can't be read ({error.strerror}), for example EDGE_CA_FILE=/etc/edge/ca.pem"
        ) from None
    return IotUplink.from_connection_string(secret, ca_pem, timeout)


def make_sender(settings: EdgeSettings) -> Sender:
    source = OpcUaSource(
        settings.opcua_endpoint,
        settings.opcua_namespace_uri,
        payload=settings.opcua_payload,
        publishing_ms=settings.opcua_publishing_ms,
    )
    options = SenderOptions(
        rules=parse_rules(settings.identity),
        event_type=settings.event_type,
        batch=BatchLimits(settings.batch_max_readings, settings.batch_max_bytes, settings.batch_max_seconds),
        buffer_readings=settings.buffer_readings,
        max_in_flight=settings.max_in_flight,
    )
    return Sender(options, source, make_uplink(settings), time.monotonic)


async def run(settings: EdgeSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await make_sender(settings).run(stop, settings.flush_seconds)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-sender", description="Send a plant's readings with deterministic keys.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="run the sender; its settings are environment variables, EDGE_*")
    return parser


def main() -> None:
    make_parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for noisy in ("asyncua", "azure", "uamqp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        asyncio.run(run(load()))
    except SettingsError as error:
        raise SystemExit(f"edge-sender: {error}") from None


if __name__ == "__main__":
    main()
