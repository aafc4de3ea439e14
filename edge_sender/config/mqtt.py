"""A source of kind `mqtt` in the sources' document."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from edge_sender.config.common import CommonConfig, PasswordVariable
from wire.times import TimeFormat
from wire.uris import as_uri, is_uri_reference

SHARED = ("$share", "$queue")
TIME_FORMAT = "`rfc3339` (without an offset: UTC), or the time since 1970 in `s`, `ms`, `us` or `ns`."


class MqttConfig(CommonConfig):
    kind: Literal["mqtt"]
    host: str = Field(pattern=r"^[^\s\x00-\x1f/@]+$", max_length=253, description="Host name of the broker.")
    port: int = Field(1883, ge=1, le=65535, description="Port of the broker.")
    topics: tuple[str, ...] = Field(min_length=1, description="Topic filters.")
    uri_prefix: str = Field(description="The source's URI is this prefix followed by the topic, percent-encoded.")
    payload: Literal["json", "sparkplug"] = Field(
        "json",
        description="`json`: each message is a reading, as JSON or text. `sparkplug`: Sparkplug B, of which each metric of "
        "NDATA and DDATA is a reading; its source is the prefix, group, edge node, device and metric.",
    )
    rebirth: bool = Field(
        False,
        description="With `sparkplug`: ask an edge node for its births (NCMD, at most once a minute) when an alias is "
        "unknown or messages are missing. Without it the sender publishes nothing.",
    )
    time: str | None = Field(None, description="Member of the payload that holds the source time.")
    time_format: TimeFormat = Field("rfc3339", description=TIME_FORMAT)
    retained: Literal["skip", "once", "take"] = Field(
        "once",
        description="Retained messages, which come again with every subscription: none of them, each once, or all.",
    )
    version: Literal["3.1.1", "5"] = Field("3.1.1", description="Version of MQTT.")
    session_expiry_seconds: int = Field(
        86_400,
        ge=0,
        le=2**32 - 1,
        description="How long the broker keeps messages for a sender that is away; in MQTT 5 only, else the broker decides.",
    )
    websocket_path: str | None = Field(
        None, pattern="^/", description="Connect by WebSocket at this path, such as `/mqtt`; without it, by plain TCP."
    )
    tls: bool = Field(False, description="Connect over TLS.")
    ca_file: Path | None = Field(None, description="CA bundle of a private broker.")
    certificate: Path | None = Field(None, description="This client's certificate (chain), PEM.")
    private_key: Path | None = Field(None, description="The certificate's private key, PEM, not encrypted.")
    username: str | None = Field(None, description="User name at the broker.")
    password_env: PasswordVariable | None = Field(
        None, description="Environment variable that holds the password; its name begins with `EDGE_SECRET_`."
    )

    @field_validator("topics")
    @classmethod
    def _topics(cls, topics: tuple[str, ...]) -> tuple[str, ...]:
        for topic in topics:
            levels = topic.split("/")
            if levels[0] in SHARED:
                raise ValueError(
                    f"{topic!r} is a shared subscription: the broker would give each message to one replica only, and none "
                    "would have all"
                )
            if not topic or any("+" in part and part != "+" for part in levels) or "#" in "/".join(levels)[:-1]:
                raise ValueError(f"{topic!r} is not a topic filter: + stands for a whole level, # for all that follow")
            if topic.endswith("#") and levels[-1] != "#":
                raise ValueError(f"{topic!r} is not a topic filter: # stands for whole levels")
        return topics

    @field_validator("uri_prefix")
    @classmethod
    def _uri_prefix(cls, value: str) -> str:
        if not is_uri_reference(value + "topic"):
            raise ValueError(f"{value!r} is not the beginning of a URI; perhaps {as_uri(value)!r}")
        return value

    @model_validator(mode="after")
    def _fits_its_payload(self) -> MqttConfig:
        if self.payload == "json" and self.rebirth:
            raise ValueError("rebirth needs payload: sparkplug")
        if self.payload == "sparkplug" and (given := self.model_fields_set & {"time", "time_format", "sequence"}):
            raise ValueError(f"{min(given)} is for payload: json; the metrics of Sparkplug have their own times")
        return self

    @model_validator(mode="after")
    def _fits(self) -> MqttConfig:
        if self.version != "5" and "session_expiry_seconds" in self.model_fields_set:
            raise ValueError('session_expiry_seconds needs version: "5"')
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key go together")
        files = {"ca_file": self.ca_file, "certificate": self.certificate}
        if not self.tls and (given := [name for name, path in files.items() if path is not None]):
            raise ValueError(f"{given[0]} needs tls: true")
        return self
