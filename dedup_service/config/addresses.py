"""What a connection string says about a hub. With a key it is used as it is; without one, Entra ID is used."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr

from dedup_service.config.settings import HUB_EXAMPLE
from dedup_service.config.urls import split_url
from dedup_service.errors import ConfigurationError

IOT_HUB_PREFIXES = ("iothub-ns-", "ihsu")
"""How the names of IoT Hub's own namespaces begin, which accept only keys.

Source: https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-messages-read-builtin
"""


@dataclass(frozen=True, slots=True)
class HubAddress:
    setting: str
    """The setting that holds it, for messages."""
    connection_string: SecretStr
    namespace: str
    """Fully qualified, with a port if the connection string has one."""
    hub: str
    has_key: bool
    """Without a key, Entra ID is asked for a token."""
    is_emulator: bool
    """The emulator, or the sandbox: without TLS."""
    endpoint: str | None = None
    """Where to connect instead of the namespace: a private endpoint, or a gateway."""

    @property
    def name(self) -> tuple[str, str]:
        return self.namespace, self.hub


def parse_hub_address(setting: str, connection_string: SecretStr, endpoint: str | None = None) -> HubAddress:
    """Raises ConfigurationError, without the key."""
    fields = {
        name.strip().lower(): value.strip()
        for name, _, value in (part.partition("=") for part in connection_string.get_secret_value().split(";"))
    }
    try:
        namespace = split_url(fields.get("endpoint", "")).netloc
    except ValueError:
        raise ConfigurationError(setting, "its Endpoint is not sb://HOST/ or sb://HOST:PORT/", HUB_EXAMPLE) from None
    has_key = bool(fields.get("sharedaccesskey") or fields.get("sharedaccesssignature"))
    if not namespace:
        raise ConfigurationError(setting, "is not a connection string: it has no Endpoint=sb://…", HUB_EXAMPLE)
    if has_key and not (fields.get("sharedaccesskeyname") or fields.get("sharedaccesssignature")):
        raise ConfigurationError(setting, "has a SharedAccessKey but no SharedAccessKeyName", HUB_EXAMPLE)
    if not fields.get("entitypath"):
        raise ConfigurationError(setting, "does not name the hub (EntityPath)", HUB_EXAMPLE)
    if not has_key and namespace.lower().startswith(IOT_HUB_PREFIXES):
        problem = (
            "has no SharedAccessKey, but IoT Hub's own endpoint does not support Entra ID: add the key, or route the "
            "messages to an Event Hub"
        )
        raise ConfigurationError(setting, problem, HUB_EXAMPLE)
    return HubAddress(
        setting=setting,
        connection_string=connection_string,
        namespace=namespace,
        hub=fields["entitypath"],
        has_key=has_key,
        is_emulator=fields.get("usedevelopmentemulator", "").lower() == "true",
        endpoint=endpoint,
    )
