"""What this gateway is called: at the hub, and at brokers."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket

from edge_sender.config.settings import EdgeSettings


def replica_name(settings: EdgeSettings) -> str:
    """A name that no other gateway has, even if none is configured: the hub knows no two devices with one name, and no two
    modules of a device."""
    if settings.replica:
        return settings.replica
    if device := os.environ.get("IOTEDGE_DEVICEID"):
        return f"{device}/{os.environ.get('IOTEDGE_MODULEID', '')}"
    if settings.uplink == "iot" and settings.dps_registration_id:
        return f"{settings.dps_registration_id}/"
    text = secret(settings) if settings.uplink != "event-hubs" else ""
    parts = dict(part.partition("=")[::2] for part in text.split(";"))
    return f"{parts['DeviceId']}/{parts.get('ModuleId', '')}" if parts.get("DeviceId") else socket.gethostname()


def client_id_of(replica: str, source: str) -> str:
    """The same for a source of a replica after every restart, since its session has that name, and no other's: names are
    shortened to what every broker accepts, and a hash tells apart what then looks the same."""
    digest = hashlib.sha256(json.dumps([replica, source]).encode()).hexdigest()[:12]
    return f"edge-sender-{_plain(replica)}-{_plain(source)}-{digest}"


def _plain(name: str) -> str:
    return re.sub("[^A-Za-z0-9]+", "-", name)[:24].strip("-")


def secret(settings: EdgeSettings) -> str:
    """The connection string; empty if there is none."""
    return settings.connection_string.get_secret_value() if settings.connection_string else ""
