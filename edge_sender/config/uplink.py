"""What must fit together for the way to the hub: how it is reached, and how this gateway proves who it is."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from edge_sender.config.settings import EdgeSettings

Contradiction = tuple[str, str]
"""A setting, and what is wrong with it."""
X509 = "x509=true"
"""What stands in a connection string instead of a key."""
OF_DPS = ("dps_registration_id", "dps_key", "dps_group_key")


def check_proxy(url: str) -> None:
    """Raises ValueError, which shows nothing of the URL: urllib's own messages may quote the password."""
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0 and parts.path in ("", "/")
    except ValueError:
        is_usable = False
    if not is_usable or parts.query or parts.fragment:
        raise ValueError("is not http://HOST:PORT; characters of the password such as # / ? @ must be percent-encoded")
    if bool(parts.username) != bool(parts.password):
        raise ValueError("has a user or a password, and not both")


def check_key(text: str) -> None:
    """Raises ValueError, which shows nothing of the key."""
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("is not base64, as keys of enrollments are") from None


def check_authorities(file: Path) -> None:
    """Raises ValueError."""
    try:
        ssl.create_default_context(cafile=str(file))
    except OSError as error:  # a missing file, or one without certificates
        raise ValueError(f"{file} can't be read as PEM certificates ({error.strerror or error})") from None


def is_by_certificate(connection_string: str) -> bool:
    return X509 in (part.strip().lower() for part in connection_string.split(";"))


def uplink_contradictions(settings: EdgeSettings) -> Iterator[Contradiction]:
    if settings.uplink == "iot-edge":
        yield from _of_a_module(settings)
    elif settings.dps_id_scope is not None and settings.uplink == "iot":
        yield from _of_provisioning(settings)
    else:
        yield from _of_a_connection_string(settings)
    for name, other in (("certificate", "private_key"), ("private_key", "certificate")):
        if getattr(settings, name) is None and getattr(settings, other) is not None:
            yield name, f"is missing, and EDGE_{other.upper()} needs it"


def _of_a_module(settings: EdgeSettings) -> Iterator[Contradiction]:
    if settings.http_proxy is not None:
        yield (
            "http_proxy",
            "with EDGE_UPLINK=iot-edge it is edgeHub that needs the proxy (its variable https_proxy)",
        )
    for name in ("certificate", "dps_id_scope"):
        if getattr(settings, name) is not None:
            yield name, "with EDGE_UPLINK=iot-edge the runtime says who this module is; it is for EDGE_UPLINK=iot"


def _of_provisioning(settings: EdgeSettings) -> Iterator[Contradiction]:
    if settings.connection_string is not None:
        yield "connection_string", "is not for a device that a provisioning service assigns (EDGE_DPS_ID_SCOPE)"
    if settings.dps_registration_id is None:
        yield "dps_registration_id", "is required with EDGE_DPS_ID_SCOPE"
    proofs = [name for name in ("dps_key", "dps_group_key", "certificate") if getattr(settings, name) is not None]
    if len(proofs) != 1:
        yield "dps_key", "with EDGE_DPS_ID_SCOPE, one of EDGE_DPS_KEY, EDGE_DPS_GROUP_KEY and EDGE_CERTIFICATE is required"


def _of_a_connection_string(settings: EdgeSettings) -> Iterator[Contradiction]:
    if settings.connection_string is None:
        more = ", or EDGE_DPS_ID_SCOPE" if settings.uplink == "iot" else ""
        yield "connection_string", f"is required with EDGE_UPLINK={settings.uplink}{more}"
        return
    by_certificate = is_by_certificate(settings.connection_string.get_secret_value())
    if by_certificate and settings.certificate is None:
        yield "certificate", f"is required for a connection string with {X509}"
    if settings.certificate is not None and not by_certificate:
        yield "certificate", f"is for EDGE_UPLINK=iot with a connection string that has {X509}, or with EDGE_DPS_ID_SCOPE"
    for name in OF_DPS:
        if getattr(settings, name) is not None:
            yield "dps_id_scope", f"is missing, and EDGE_{name.upper()} needs it; both are for EDGE_UPLINK=iot"
            return
