"""A source that reads OPC UA servers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator, model_validator

from edge_sender.config.common import CommonConfig, PasswordVariable
from edge_sender.config.events import IDENTITY, SUFFIX, Events
from edge_sender.config.nodes import LONGEST_SECONDS, UINT32_MAX, Nodes, Payload, TimeChoice, Trigger, deadband
from edge_sender.identity.rules import IdentityRules
from wire.ids import NS_PER_SECOND, Content, Identity, SourceTimeValue, TimeBucket, parse_strategy
from wire.uris import is_uri_reference

Endpoint = Annotated[str, StringConstraints(pattern=r"^opc\.tcp://[^@]+$")]
DEFAULT_PORT = 4840
OF_SUBSCRIPTIONS = frozenset({"sampling_ms", "publishing_ms", "queue_size", "trigger", "deadband", "heartbeat_seconds"})


def normal(url: str) -> tuple[str | None, str, str]:
    """The same for two URLs of one endpoint that are only written differently."""
    parts = urlsplit(url)
    host, _, port = parts.netloc.rpartition(":") if parts.netloc.rpartition(":")[2].isdigit() else (parts.netloc, "", "")
    return host.lower(), port or str(DEFAULT_PORT), parts.path.rstrip("/")


class OpcUaConfig(CommonConfig):
    kind: Literal["opcua"]
    identity: str = "source-time+value"
    endpoint: Endpoint | None = Field(
        None, description="URL of the OPC UA server, without a user. Required without `endpoints`."
    )
    endpoints: tuple[Endpoint, ...] = Field(
        (),
        description="Instead of `endpoint`: URLs of redundant servers. The first that can be read is, and another one when "
        "it can't be any more.",
    )
    server_uri: str | None = Field(
        None,
        description="Takes the place of the server's application URI in the source URIs of its readings, also as the name "
        "of its own namespace. For redundant servers whose URIs differ, and for different servers that have the same.",
    )
    namespace_uri: str | None = Field(
        None,
        description="Only variables of this namespace; without `nodes`, all of them. Required without `nodes` and `events`.",
    )
    nodes: Nodes | None = Field(None, description="Which variables, and with which other settings; see below.")
    events: Events | None = Field(None, description="Which events; see below. Without `events`, none.")
    payload: Payload = Field("value", description="`json`: the variable holds JSON text.")
    time: TimeChoice = Field(
        "source",
        description="Which time a reading has: the value's, the server's (which every server sets by itself), or the "
        "server's where the value has none.",
    )
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
    server_certificate: Path | tuple[Path, ...] | None = Field(
        None,
        description="The only server certificate that is trusted; a list for `endpoints`, one for each, in their order.",
    )
    username: str | None = Field(None, min_length=1, description="User name at the server.")
    password_env: PasswordVariable | None = Field(
        None, description="Environment variable that holds the password; its name begins with `EDGE_SECRET_`."
    )

    @model_validator(mode="before")
    @classmethod
    def _usual_identity(cls, given: Any) -> Any:
        """What is read with `sampling: aligned` has a time of its own, and values that may differ between gateways."""
        if isinstance(given, dict) and given.get("sampling") == "aligned" and "identity" not in given:
            return {**given, "identity": "source-time"}
        return given

    @field_validator("deadband")
    @classmethod
    def _deadband(cls, value: float | str | None) -> float | str | None:
        if value is not None:
            deadband(value)
        return value

    @field_validator("server_uri")
    @classmethod
    def _server_uri(cls, value: str | None) -> str | None:
        if value is not None and (":" not in value or "#" in value or not is_uri_reference(value)):
            raise ValueError("write a URI without a fragment, for example urn:factory:line-1")
        return value

    @property
    def rules(self) -> IdentityRules:
        """Events have the same identity everywhere: their fields with their time."""
        rules = self.variable_rules
        if self.events is None:
            return rules
        return replace(rules, rules=((f"*{SUFFIX}", parse_strategy(IDENTITY)), *rules.rules))

    @property
    def variable_rules(self) -> IdentityRules:
        return super().rules

    @property
    def has_variables(self) -> bool:
        """Whether it reads variables, and not only events."""
        return self.namespace_uri is not None or self.nodes is not None

    @property
    def servers(self) -> tuple[str, ...]:
        """The URLs of its servers, in their order."""
        return self.endpoints if self.endpoint is None else (self.endpoint,)

    @property
    def server_certificates(self) -> tuple[Path | None, ...]:
        """One for each of `servers`."""
        given = self.server_certificate
        return given if isinstance(given, tuple) else (given,) * len(self.servers)

    def only(self, number: int) -> OpcUaConfig:
        """The same source, of that one of its servers alone."""
        one = {"endpoint": self.servers[number], "server_certificate": self.server_certificates[number]}
        return self.model_copy(update={"name": f"{self.name} at {self.servers[number]}", "endpoints": (), **one})

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
        if self.time != "source":
            raise ValueError(
                f"time: {self.time} can't be had with sampling: aligned, where the time is the moment of reading"
            )
        if self.events is not None:
            raise ValueError("events need a subscription: read them in an entry of their own, without sampling: aligned")
        if given := sorted(OF_SUBSCRIPTIONS & self.model_fields_set):
            raise ValueError(f"{given[0]} is a setting of subscriptions, and there are none with sampling: aligned")
        if self.nodes is not None and self.nodes.overrides:
            raise ValueError("nodes.overrides are settings of subscriptions, and there are none with sampling: aligned")
        for identity in self.rules.strategies:
            if problem := _misfit(identity, self.interval_ns):
                raise ValueError(f"sampling: aligned can't have the identity {identity.name}: {problem}")
        return self

    @model_validator(mode="after")
    def _one_or_several(self) -> OpcUaConfig:
        if (self.endpoint is None) == (not self.endpoints):
            raise ValueError("give either endpoint (one server) or endpoints (a list of redundant ones)")
        if len({normal(url) for url in self.servers}) < len(self.servers):
            raise ValueError("endpoints names the same server twice")
        if len(self.server_certificates) != len(self.servers):
            raise ValueError("server_certificate is one file for all endpoints, or a list with one for each")
        return self

    @model_validator(mode="after")
    def _complete(self) -> OpcUaConfig:
        if not self.has_variables and self.events is None:
            raise ValueError(
                "choose variables by namespace_uri, by nodes, or by both (`nodes: {}` are all there are), or events, by "
                "events"
            )
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


def _misfit(identity: Identity, interval_ns: int) -> str | None:
    """Why readings that are `interval_ns` apart, on the grid, would have wrong ids."""
    if isinstance(identity, SourceTimeValue | Content):
        return "the values that gateways read may differ a little, and then the ids would; use source-time, or time-bucket"
    if isinstance(identity, TimeBucket) and identity.interval_ns > interval_ns:
        return "its interval is longer than interval_seconds, so that several readings would have one id"
    return None
