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

from edge_sender.config.common import CommonConfig
from edge_sender.config.file import FileConfig
from edge_sender.config.mqtt import MqttConfig
from edge_sender.config.nodes import Nodes, Payload, TimeChoice, Trigger, deadband
from edge_sender.ports import SourceConfigError


class OpcUaConfig(CommonConfig):
    kind: Literal["opcua"]
    endpoint: str = Field(pattern=r"^opc\.tcp://[^@]+$", description="URL of the OPC UA server, without a user.")
    namespace_uri: str | None = Field(
        None, description="Only variables of this namespace; without `nodes`, all of them. Required without `nodes`."
    )
    nodes: Nodes | None = Field(None, description="Which variables, and with which other settings; see below.")
    payload: Payload = Field("value", description="`json`: the variable holds JSON text.")
    time: TimeChoice = Field(
        "source",
        description="Which time a reading has: the value's, the server's (which every server sets by itself), or the "
        "server's where the value has none.",
    )
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


class SyntheticConfig(CommonConfig):
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
