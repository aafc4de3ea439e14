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
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from edge_sender.config.common import CommonConfig
from edge_sender.config.edgehub import EdgeHubConfig
from edge_sender.config.file import FileConfig
from edge_sender.config.mqtt import MqttConfig
from edge_sender.config.namesakes import check_names
from edge_sender.config.opcua import OpcUaConfig
from edge_sender.ports import SourceConfigError


class SyntheticConfig(CommonConfig):
    kind: Literal["synthetic"]
    uri_prefix: str = Field("urn:synthetic:", description="The source's URI is this prefix followed by a number.")
    count: int = Field(1, ge=1, le=100_000, description="Number of sources.")
    interval_seconds: float = Field(1.0, ge=0.001, le=86_400, description="Time between two readings of a source.")


SourceConfig = Annotated[
    OpcUaConfig | MqttConfig | FileConfig | EdgeHubConfig | SyntheticConfig, Field(discriminator="kind")
]


class SourcesDocument(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    sources: tuple[SourceConfig, ...] = Field(min_length=1)

    @field_validator("sources")
    @classmethod
    def _names_differ(cls, sources: tuple[SourceConfig, ...]) -> tuple[SourceConfig, ...]:
        names = [source.name for source in sources]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"the name {min(twice)} is given twice")
        inputs = [source.input for source in sources if isinstance(source, EdgeHubConfig)]
        if twice := {name for name in inputs if inputs.count(name) > 1}:
            raise ValueError(f"the input {min(twice)} is given to two sources")
        check_names([source for source in sources if isinstance(source, OpcUaConfig)])
        return sources


NO_SOURCES = SourcesDocument.model_construct(sources=())


def is_probed(config: SourceConfig) -> bool:
    """Whether its ids can be checked with a second subscription to the same server. Readings of `sampling: aligned` have
    exact times, and a second reader would only ask the server twice as often; metrics of Sparkplug are stamped by their edge
    node, once for all who read them."""
    return (isinstance(config, MqttConfig) and config.payload == "json") or (
        isinstance(config, OpcUaConfig) and config.sampling == "subscription"
    )


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
