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

from edge_sender.config.common import CommonConfig, PasswordVariable
from edge_sender.config.file import FileConfig
from edge_sender.config.mqtt import MqttConfig
from edge_sender.config.nodes import LONGEST_SECONDS, UINT32_MAX, Nodes, Trigger, deadband
from edge_sender.ports import SourceConfigError
from wire.ids import NS_PER_SECOND, Content, Identity, SourceTimeValue, TimeBucket


class OpcUaConfig(CommonConfig):
    kind: Literal["opcua"]
    endpoint: str = Field(pattern=r"^opc\.tcp://[^@]+$", description="URL of the OPC UA server, without a user.")
    namespace_uri: str | None = Field(
        None, description="Only variables of this namespace; without `nodes`, all of them. Required without `nodes`."
    )
    nodes: Nodes | None = Field(None, description="Which variables, and with which other settings; see below.")
    payload: Literal["value", "json"] = Field("value", description="`json`: the variable holds JSON text.")
    sampling: Literal["subscription", "aligned"] = Field(
        "subscription",
        description="`aligned`: the variables are not subscribed to, but read at the same moments by all gateways.",
    )
    interval_seconds: float | None = Field(
        None, ge=0.01, le=86_400, description="With `sampling: aligned`: read at the multiples of this time since 1970, UTC."
    )
    sampling_ms: float = Field(
        0.0,
        ge=0,
        le=LONGEST_SECONDS * 1000,
        description="How often the server looks at the values. 0: as fast as it can, or at each change.",
    )
    publishing_ms: float = Field(100.0, ge=1, le=LONGEST_SECONDS * 1000, description="Publishing interval.")
    queue_size: int = Field(
        1000,
        ge=1,
        le=UINT32_MAX,
        description="Readings of one variable that the server queues during a publishing interval.",
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
        0.0,
        ge=0,
        le=LONGEST_SECONDS,
        description="Repeat a variable's last reading, with its id, after this time without a new one. 0: never.",
    )
    browse_seconds: float = Field(
        300.0,
        ge=0,
        le=LONGEST_SECONDS,
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
    password_env: PasswordVariable | None = Field(
        None, description="Environment variable that holds the password; its name begins with `EDGE_SECRET_`."
    )

    @field_validator("deadband")
    @classmethod
    def _deadband(cls, value: float | str | None) -> float | str | None:
        if value is not None:
            deadband(value)
        return value

    @property
    def interval_ns(self) -> int | None:
        """Between two readings of a variable, with `sampling: aligned`."""
        return None if self.interval_seconds is None else round(self.interval_seconds * NS_PER_SECOND)

    @model_validator(mode="after")
    def _aligned(self) -> OpcUaConfig:
        if self.sampling == "subscription":
            if self.interval_seconds is not None:
                raise ValueError("interval_seconds needs sampling: aligned")
            return self
        if self.interval_ns is None:
            raise ValueError("sampling: aligned needs interval_seconds, for example interval_seconds: 1")
        if given := sorted(OF_SUBSCRIPTIONS & self.model_fields_set):
            raise ValueError(f"{given[0]} is a setting of subscriptions, and there are none with sampling: aligned")
        if self.nodes is not None and self.nodes.overrides:
            raise ValueError("nodes.overrides are settings of subscriptions, and there are none with sampling: aligned")
        for identity in self.rules.strategies:
            if problem := _misfit(identity, self.interval_ns):
                raise ValueError(f"sampling: aligned can't have the identity {identity.name}: {problem}")
        return self

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


OF_SUBSCRIPTIONS = frozenset({"sampling_ms", "publishing_ms", "queue_size", "trigger", "deadband", "heartbeat_seconds"})


def _misfit(identity: Identity, interval_ns: int) -> str | None:
    """Why readings that are `interval_ns` apart, on the grid, would have wrong ids."""
    if isinstance(identity, SourceTimeValue | Content):
        return "the values that gateways read may differ a little, and then the ids would; use source-time, or time-bucket"
    if isinstance(identity, TimeBucket) and identity.interval_ns > interval_ns:
        return "its interval is longer than interval_seconds, so that several readings would have one id"
    return None


class SyntheticConfig(CommonConfig):
    kind: Literal["synthetic"]
    uri_prefix: str = Field("urn:synthetic:", description="The source's URI is this prefix followed by a number.")
    count: int = Field(1, ge=1, le=100_000, description="Number of sources.")
    interval_seconds: float = Field(1.0, ge=0.001, le=86_400, description="Time between two readings of a source.")


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


def is_probed(config: SourceConfig) -> bool:
    """Whether its ids can be checked with a second subscription to the same server. Readings of `sampling: aligned` have
    exact times, and a second reader would only ask the server twice as often."""
    return isinstance(config, MqttConfig) or (isinstance(config, OpcUaConfig) and config.sampling == "subscription")


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
