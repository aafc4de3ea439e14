"""The edge's settings: environment variables with the prefix EDGE_."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from edge_sender.identity import parse_rules


class SettingsError(Exception):
    """A setting is missing or wrong; the message names it and shows an example."""


class EdgeSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="EDGE_", extra="ignore", hide_input_in_errors=True)

    opcua_endpoint: str = Field(description="The OPC UA server.", examples=["opc.tcp://plc-1:4840"])
    opcua_namespace_uri: str = Field(
        description="Every variable of this namespace is a source.", examples=["urn:factory:machines"]
    )
    opcua_payload: Literal["value", "json"] = Field(
        "value", description="`value`: data is value and status. `json`: the variable holds JSON text.", examples=["json"]
    )
    opcua_publishing_ms: float = Field(100.0, gt=0, description="Publishing interval.", examples=["100"])
    identity: str = Field(
        "source-time",
        description="Identity strategy, or `pattern=strategy` rules separated by commas.",
        examples=["*=source-time", "*/counter=sequence,*=time-bucket:0.5"],
    )
    event_type: str = Field("reading", description="The CloudEvents type.", examples=["reading"])
    uplink: Literal["iot", "iot-edge", "event-hubs"] = Field(
        "iot-edge",
        description="`iot-edge`: a module of the Edge runtime; `iot`: a device or module by connection string; "
        "`event-hubs`: straight to an Event Hub.",
        examples=["iot"],
    )
    connection_string: SecretStr | None = Field(
        None,
        description="Of the device, the module or the Event Hub; not needed with `iot-edge`.",
        examples=["HostName=hub.azure-devices.net;DeviceId=edge-a;SharedAccessKey=…"],
    )
    ca_file: Path | None = Field(None, description="CA bundle of a private gateway.", examples=["/etc/edge/ca.pem"])
    replica: str | None = Field(None, description="This gateway's name; needed with `event-hubs`.", examples=["edge-a"])
    batch_max_readings: int = Field(20, ge=1, description="1 sends each reading singly.", examples=["20"])
    batch_max_bytes: int = Field(4096, ge=512, le=250_000, description="IoT Hub meters in 4 KB units.", examples=["4096"])
    batch_max_seconds: float = Field(1.0, gt=0, description="A batch waits no longer.", examples=["1"])
    buffer_readings: int = Field(100_000, ge=1, description="Kept in memory while the uplink is down.", examples=["100000"])
    max_in_flight: int = Field(32, ge=1, description="Messages sent but not yet acknowledged.", examples=["32"])
    send_timeout_seconds: float = Field(10.0, gt=0, description="After it a message is sent again.", examples=["10"])
    flush_seconds: float = Field(8.0, ge=0, description="To send the buffer on SIGTERM.", examples=["8"])

    @field_validator("identity")
    @classmethod
    def _identity(cls, value: str) -> str:
        parse_rules(value)
        return value

    @model_validator(mode="after")
    def _uplink_needs(self) -> EdgeSettings:
        if self.uplink != "iot-edge" and self.connection_string is None:
            raise ValueError(f"EDGE_CONNECTION_STRING: is needed with EDGE_UPLINK={self.uplink}")
        if self.uplink == "event-hubs" and not self.replica:
            raise ValueError("EDGE_REPLICA: is needed with EDGE_UPLINK=event-hubs, for example EDGE_REPLICA=edge-a")
        return self


def load(**overrides: Any) -> EdgeSettings:
    """Read the environment. Raises SettingsError with one message about every setting that is wrong."""
    try:
        return EdgeSettings(**overrides)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(item["loc"], item["msg"]) for item in error.errors())) from None


def _explain(location: tuple[int | str, ...], message: str) -> str:
    text = message.removeprefix("Value error, ")
    if not location:
        return text
    name = str(location[0])
    example = (EdgeSettings.model_fields[name].examples or [""])[0]
    return f"EDGE_{name.upper()}: {text}, for example EDGE_{name.upper()}={example}"
