"""Shared access signatures, checked the way Event Hubs and IoT Hub check them.

Source: https://learn.microsoft.com/azure/event-hubs/authenticate-shared-access-signature and
https://learn.microsoft.com/azure/iot-hub/authenticate-authorize-sas
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote_plus, urlsplit

SCHEME = "SharedAccessSignature "


class SasError(Exception):
    """The token is refused; the message gives the reason and never contains the key."""


@dataclass(frozen=True, slots=True)
class SasToken:
    resource: str
    signed_resource: str
    signature: str
    expiry: float
    policy: str | None


def parse(token: str) -> SasToken:
    scheme, _, rest = token.partition(" ")
    if scheme != "SharedAccessSignature":
        raise SasError("the token is not a SharedAccessSignature")
    raw = dict(part.partition("=")[::2] for part in rest.split("&"))
    fields = dict(parse_qsl(rest))
    try:
        return SasToken(fields["sr"], raw["sr"], fields["sig"], float(fields["se"]), fields.get("skn"))
    except (KeyError, ValueError):
        raise SasError("the token lacks sr, sig or se") from None


def signature(key: bytes, signed_resource: str, expiry: str) -> str:
    digest = hmac.new(key, f"{signed_resource}\n{expiry}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def verify(token: SasToken, key: bytes, now: float) -> None:
    """Raises SasError when the token was signed with another key, or has expired (`now` in seconds)."""
    expected = signature(key, token.signed_resource, f"{token.expiry:.0f}")
    if not hmac.compare_digest(expected.encode(), token.signature.encode()):
        raise SasError("InvalidSignature: The token has an invalid signature: it was signed with another key.")
    if token.expiry <= now:
        until = datetime.fromtimestamp(token.expiry, UTC)
        raise SasError(f"ExpiredToken: The token is expired. Expiration time: '{until:%Y-%m-%d %H:%M:%SZ}'.")


def covers(resource: str, path: str) -> bool:
    """Whether a token for `resource` (a URI or host/path) grants access to `path`, e.g. `telemetry/ConsumerGroups/a`."""
    granted = path_of(resource)
    return not granted or path.lower() == granted or path.lower().startswith(granted + "/")


def path_of(resource: str) -> str:
    uri = resource if "://" in resource else f"sb://{resource}"
    return urlsplit(uri).path.strip("/").lower()


def generate(resource: str, key: bytes, expiry: int, policy: str | None = None) -> str:
    """A token, for tests and for clients that have no SDK."""
    encoded = quote_plus(resource)
    token = f"SharedAccessSignature sr={encoded}&sig={quote_plus(signature(key, encoded, str(expiry)))}&se={expiry}"
    return f"{token}&skn={policy}" if policy else token
