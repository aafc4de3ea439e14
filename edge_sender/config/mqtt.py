"""A source of kind `mqtt` in the sources' document."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from edge_sender.config.common import CommonConfig
from wire.times import TimeFormat

TIME_FORMAT = "`rfc3339` (without an offset: UTC), or the time since 1970 in `s`, `ms`, `us` or `ns`."


class MqttConfig(CommonConfig):
    kind: Literal["mqtt"]
    host: str = Field(description="Host name of the broker.")
    port: int = Field(1883, ge=1, le=65535, description="Port of the broker.")
    topics: tuple[str, ...] = Field(min_length=1, description="Topic filters.")
    uri_prefix: str = Field(description="The source's URI is this prefix followed by the topic.")
    time: str | None = Field(None, description="Member of the payload that holds the source time.")
    time_format: TimeFormat = Field("rfc3339", description=TIME_FORMAT)
    tls: bool = Field(False, description="Connect over TLS.")
    ca_file: Path | None = Field(None, description="CA bundle of a private broker.")
    username: str | None = Field(None, description="User name at the broker.")
    password_env: str | None = Field(None, description="Environment variable that holds the password.")

    @field_validator("topics")
    @classmethod
    def _topics(cls, topics: tuple[str, ...]) -> tuple[str, ...]:
        for topic in topics:
            levels = topic.split("/")
            if not topic or any("+" in part and part != "+" for part in levels) or "#" in "/".join(levels)[:-1]:
                raise ValueError(f"{topic!r} is not a topic filter: + stands for a whole level, # for all that follow")
            if topic.endswith("#") and levels[-1] != "#":
                raise ValueError(f"{topic!r} is not a topic filter: # stands for whole levels")
        return topics
