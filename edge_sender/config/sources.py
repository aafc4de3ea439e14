"""The sources' document (YAML or JSON): which sources there are, and what identifies a reading of each.

sources:
  - name: presses
    kind: opcua
    endpoint: opc.tcp://plc-1:4840
    namespace_uri: urn:factory:machines
    identity: "*/counter=sequence,*=source-time"
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from edge_sender.config.nodes import Nodes, Trigger, deadband
from edge_sender.identity.rules import IdentityRules, parse_rules
from edge_sender.ports import SourceConfigError
from wire.cloudevents import READING_TYPE
from wire.times import TimeFormat

TIME_FORMAT = "`rfc3339` (without an offset: UTC), or the time since 1970 in `s`, `ms`, `us` or `ns`."


class _Common(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: str = Field(min_length=1, max_length=64, description="Name in logs and metrics.")
    identity: str = Field(description="One strategy, or rules `pattern=strategy` separated by commas.")
    event_type: str = Field(READING_TYPE, description="CloudEvents type of its events.")

    @field_validator("identity")
    @classmethod
    def _identity(cls, value: str) -> str:
        parse_rules(value)
        return value

    @property
    def rules(self) -> IdentityRules:
        return parse_rules(self.identity)


class OpcUaConfig(_Common):
    kind: Literal["opcua"]
    endpoint: str = Field(pattern=r"^opc\.tcp://[^@]+$", description="URL of the OPC UA server, without a user.")
    namespace_uri: str | None = Field(
        None, description="Only variables of this namespace; without `nodes`, all of them. Required without `nodes`."
    )
    nodes: Nodes | None = Field(None, description="Which variables, and with which other settings; see below.")
    payload: Literal["value", "json"] = Field("value", description="`json`: the variable holds JSON text.")
    sampling_ms: float = Field(
        0.0, ge=0, description="How often the server looks at the values. 0: as fast as it can, or at each change."
    )
    publishing_ms: float = Field(100.0, ge=1, description="Publishing interval.")
    queue_size: int = Field(
        1000, ge=1, description="Readings of one variable that the server queues during a publishing interval."
    )
    trigger: Trigger = Field(
        "status-value-timestamp",
        description="What makes a new reading. With `status-value`, an equal value at a new time is none.",
    )
    deadband: float | str | None = Field(
        None,
        description="Smaller changes of a number are no readings: an amount in its own unit (`0.5`), or a share of its "
        "EURange (`2%`). Two gateways then may report different readings.",
    )
    heartbeat_seconds: float = Field(
        0.0, ge=0, description="Repeat a variable's last reading, with its id, after this time without a new one. 0: never."
    )
    browse_seconds: float = Field(
        300.0,
        ge=0,
        description="How often to look for variables that are new or gone. 0: only when the server says that there are, "
        "by a GeneralModelChangeEvent.",
    )
    security_policy: Literal["None", "Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"] = Field(
        "None", description="Any policy other than `None` requires the three files below."
    )
    security_mode: Literal["Sign", "SignAndEncrypt"] = Field("SignAndEncrypt", description="Mode of the secure channel.")
    certificate: Path | None = Field(
        None, description="This client's certificate, PEM or DER; its URI becomes the client's application URI."
    )
    private_key: Path | None = Field(None, description="The certificate's private key, PEM or DER, not encrypted.")
    server_certificate: Path | None = Field(None, description="The only server certificate that is trusted.")
    username: str | None = Field(None, min_length=1, description="User name at the server.")
    password_env: str | None = Field(None, description="Environment variable that holds the password.")

    @field_validator("deadband")
    @classmethod
    def _deadband(cls, value: float | str | None) -> float | str | None:
        if value is not None:
            deadband(value)
        return value

    @model_validator(mode="after")
    def _complete(self) -> OpcUaConfig:
        if self.namespace_uri is None and self.nodes is None:
            raise ValueError("choose variables by namespace_uri, by nodes, or by both; `nodes: {}` are all there are")
        files = {name: getattr(self, name) for name in ("certificate", "private_key", "server_certificate")}
        missing = [name for name, path in files.items() if path is None]
        if self.security_policy != "None" and missing:
            raise ValueError(f"security_policy {self.security_policy} also needs {' and '.join(missing)}")
        if self.security_policy == "None" and len(missing) < len(files):
            raise ValueError("certificates are used with a security_policy only: set it, or leave them out")
        if (self.username is None) != (self.password_env is None):
            raise ValueError("username and password_env go together")
        if self.username is not None and (self.security_policy == "None" or self.security_mode == "Sign"):
            raise ValueError(
                "a username needs a security_policy with SignAndEncrypt, or the password could be read on the way"
            )
        return self


class MqttConfig(_Common):
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


class FileConfig(_Common):
    kind: Literal["file"]
    path: Path = Field(description="The file, which may appear later and grow.")
    format: Literal["csv", "jsonl"] = Field(
        description="`csv` with a header line, or `jsonl` with one JSON object per line."
    )
    uri: str = Field(description="The source's URI; `{column}` is replaced by that value of the line.")
    time: str | None = Field(None, description="Column or member that holds the source time.")
    time_format: TimeFormat = Field("rfc3339", description=TIME_FORMAT)
    follow: bool = Field(False, description="Wait for more lines at the end of the file.")


class SyntheticConfig(_Common):
    kind: Literal["synthetic"]
    uri_prefix: str = Field("urn:synthetic:", description="The source's URI is this prefix followed by a number.")
    count: int = Field(1, ge=1, description="Number of sources.")
    interval_seconds: float = Field(1.0, gt=0, description="Time between two readings of a source.")


SourceConfig = Annotated[OpcUaConfig | MqttConfig | FileConfig | SyntheticConfig, Field(discriminator="kind")]


class SourcesDocument(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    sources: tuple[SourceConfig, ...] = Field(min_length=1)

    @field_validator("sources")
    @classmethod
    def _names_differ(cls, sources: tuple[SourceConfig, ...]) -> tuple[SourceConfig, ...]:
        names = [source.name for source in sources]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"the name {min(twice)} is given twice")
        return sources


NO_SOURCES = SourcesDocument.model_construct(sources=())
PROBED_KINDS = ("opcua", "mqtt")
"""Kinds of source whose ids can be checked with a second subscription to the same server."""


def parse_sources(text: str) -> SourcesDocument:
    """Raises SourceConfigError."""
    try:
        return check_sources(yaml.safe_load(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" in line {mark.line + 1}"
        raise SourceConfigError(f"not valid YAML{where}: {getattr(error, 'problem', error)}") from None


def check_sources(document: Any) -> SourcesDocument:
    """Raises SourceConfigError."""
    try:
        return SourcesDocument.model_validate(document)
    except ValidationError as error:
        raise SourceConfigError("\n".join(_problems(error))) from None


def _problems(error: ValidationError) -> Iterator[str]:
    for item in error.errors():
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"]).lstrip(".")
        yield f"{place or 'the document'}: {item['msg'].removeprefix('Value error, ')}"
