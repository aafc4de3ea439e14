"""What senders send and how it is read: the lines that a group and an input of the file have in common."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo, field_validator

from dedup_service.core.groups import CLOUDEVENTS
from wire.formats.minting import chosen_strategy
from wire.formats.registry import DEFAULT_STRATEGIES, NAMES, make_format

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
FormatName = Literal["cloudevents", *NAMES]  # type: ignore[valid-type]  # the names are those of the registry


class SenderSettings(BaseModel):
    """A group's own lines come before those of the input by which an event arrives."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    format: FormatName = Field(
        default="cloudevents",
        description="What is sent. A group that names none has its inputs', with options and identity.",
    )
    format_options: dict[str, Any] | list[dict[str, Any]] = Field(
        default={}, validate_default=True, description="Of the `format` beside them; see docs/formats.md."
    )
    identity: str | None = Field(
        default=None,
        description="What tells readings of a source apart, with the `format` beside it; default: by format, see "
        "docs/formats.md.",
    )
    not_readings: Literal["forward", "drop"] = Field(
        default="forward", description="What happens to events without readings, such as metadata and keep-alives."
    )

    @field_validator("format_options")
    @classmethod
    def _options_of_the_format(cls, options: Any, info: ValidationInfo) -> Any:
        name = info.data.get("format", CLOUDEVENTS)
        if name == CLOUDEVENTS and options:
            raise ValueError("cloudevents has no options; those of another format need its `format` beside them")
        if name != CLOUDEVENTS:
            make_format(name, json.dumps(options))
        return options

    @field_validator("identity")
    @classmethod
    def _known_strategy(cls, identity: str | None, info: ValidationInfo) -> str | None:
        if identity is not None:
            if info.data.get("format") == CLOUDEVENTS:
                raise ValueError(
                    "cloudevents have an id of their own; the identity of another format needs its `format` beside it"
                )
            chosen_strategy(identity)
        return identity

    @property
    def strategy(self) -> str | None:
        """The identity as it is written; None for CloudEvents, which have ids of their own."""
        return None if self.format == CLOUDEVENTS else self.identity or DEFAULT_STRATEGIES[self.format]
