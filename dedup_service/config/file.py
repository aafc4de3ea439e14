"""The YAML file (DEDUP_CONFIG_FILE) that says which devices form which redundancy group.

Every message names line and field, because a plant's file grows long, and a wrong pattern silently leaves machines
unprotected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import starmap
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from dedup_service.config.senders import Name, SenderSettings
from dedup_service.config.unknown_fields import Location, unknown_fields
from dedup_service.config.urls import HostAndPort
from dedup_service.config.yaml_file import Mistake, read_yaml
from dedup_service.core.groups import AS_MANY_AS_SENT, CLOUDEVENTS
from dedup_service.errors import ConfigurationError

SETTING = "DEDUP_CONFIG_FILE"
EXAMPLE = "/etc/dedup/groups.yaml"

Pattern = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
Pointer = Annotated[str, StringConstraints(pattern=r"^(/[^/]*)+$")]
READ_AS, NOT_READINGS = ("format", "format_options", "identity"), ("not_readings",)
"""What a group takes from an input. The first three go together: options are of a format, and by format an identity is the
default."""


class GroupSettings(SenderSettings):
    """One redundancy group. What is left out comes from the input, or from the environment, or is the default."""

    devices: list[Pattern] = Field(default=["*"], min_length=1, description="IoT Hub device ids; * and ? match.")
    sources: list[Pattern] = Field(
        default=["*"], min_length=1, description="Sources that these devices may send; * and ? match."
    )
    expected_replicas: int = Field(
        default=AS_MANY_AS_SENT,
        ge=0,
        le=31,
        description=f"{AS_MANY_AS_SENT}: as many as have ever sent, so that one that never sent is not missed.",
    )
    window_seconds: int | None = Field(default=None, gt=0, description="Default: DEDUP_WINDOW_SECONDS.")
    mode: Literal["drop", "mark", "observe"] | None = Field(default=None, description="Default: DEDUP_MODE.")
    on_conflict: Literal["first-wins", "dead-letter"] = "first-wins"
    content: list[Pointer] = Field(default=[], description="JSON pointers to what copies must agree on; empty: all bytes.")
    content_mode: Literal["as-received", "structured"] = "as-received"
    output: Name | None = Field(default=None, description="One of `outputs`; default: the environment's.")
    partition_by: Literal["source", "group"] | None = Field(default=None, description="Default: DEDUP_PARTITION_BY.")
    silent_after_seconds: int = Field(
        default=10, gt=0, description="A replica without copies for this long counts as silent."
    )

    @property
    def inherited(self) -> tuple[str, ...]:
        """The fields that come from the input, since the group says nothing itself."""
        unsaid = [fields for fields in (READ_AS, NOT_READINGS) if fields[0] not in self.model_fields_set]
        return sum(unsaid, ())

    @model_validator(mode="after")
    def _content_of_cloudevents(self) -> GroupSettings:
        if self.content and self.format != CLOUDEVENTS:
            raise ValueError(
                f"`content` is for cloudevents; {self.format} knows what copies must agree on (docs/formats.md)"
            )
        return self


class InputSettings(SenderSettings):
    """One input hub. Secrets are not in the file: it names the environment variable that has them."""

    connection_string_env: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="Variable with its connection string."
    )
    consumer_group: str = Field(min_length=1)
    endpoint_address: HostAndPort | None = Field(default=None, description="Like DEDUP_INPUT_ENDPOINT_ADDRESS.")
    retention_seconds: int | None = Field(default=None, gt=0, description="Default: DEDUP_INPUT_RETENTION_SECONDS.")


class OutputSettings(BaseModel):
    """A clean hub in addition to the one that the environment names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    connection_string_env: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="Variable with its connection string."
    )
    consumer_group: str = Field(min_length=1, description="To look up what was published; no other reader may use it.")
    endpoint_address: HostAndPort | None = Field(default=None, description="Like DEDUP_OUTPUT_ENDPOINT_ADDRESS.")


class ConfigFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    outputs: list[OutputSettings] = []
    inputs: list[InputSettings] = Field(default=[], description="Instead of DEDUP_INPUT_*.")
    groups: list[GroupSettings] = Field(min_length=1)

    def by_input(self, group: GroupSettings) -> dict[str, GroupSettings]:
        """The group as it is for events of each input, whose lines stand in for those that the group has not. Empty where
        the environment names the input."""
        return {
            source.name: group.model_copy(update={name: getattr(source, name) for name in group.inherited})
            for source in self.inputs
        }

    @field_validator("inputs", "outputs", "groups")
    @classmethod
    def _unique(cls, items: list[Any]) -> list[Any]:
        names = [item.name for item in items]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the name {name} is given twice")
        return items


def load_config_file(path: Path) -> ConfigFile:
    """Raises ConfigurationError, which names every mistake with its line and field."""
    try:
        document = read_yaml(path)
    except OSError as error:
        raise ConfigurationError(SETTING, f"{path} can't be read ({error.strerror})", EXAMPLE) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigurationError(SETTING, f"{path} is not YAML: {' '.join(str(error).split())}", EXAMPLE) from None
    mistakes = [*document.repeated_names(), *starmap(Mistake, unknown_fields(document.content, ConfigFile))]
    try:
        file = ConfigFile.model_validate(document.content)
        mistakes += starmap(Mistake, _contradictions(file))
    except ValidationError as error:
        mistakes += _others(error, mistakes)
    if mistakes:
        raise ConfigurationError(SETTING, document.explain(mistakes), EXAMPLE)
    return file


def _others(error: ValidationError, known: Sequence[Mistake]) -> list[Mistake]:
    """Without those that only follow from the known ones: what holds a mistake is wrong too, and so is what lacks a field
    whose name was misspelt."""
    found = []
    for item in error.errors():
        at, problem = item["loc"], item["msg"].removeprefix("Value error, ")
        follows = any(
            mistake.at[: len(at)] == at
            or (item["type"] == "missing" and mistake.at[:-1] == at[:-1] and f"`{at[-1]}`" in mistake.problem)
            for mistake in known
        )
        if not follows:
            found.append(Mistake(at, problem))
    return found


def _contradictions(file: ConfigFile) -> Iterator[tuple[Location, str]]:
    """Lines of a group that its input's lines leave without a meaning."""
    for index, group in enumerate(file.groups):
        for name, read in file.by_input(group).items() if group.content else ():
            if read.format != CLOUDEVENTS:
                yield (
                    ("groups", index, "content"),
                    f"is for cloudevents, but input {name} has the format {read.format}, and the group names none: give it "
                    "a `format` of its own, or leave `content` out",
                )
