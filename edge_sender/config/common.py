"""What every source has in the sources' document."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from edge_sender.identity.rules import IdentityRules, parse_rules
from wire.cloudevents import READING_TYPE
from wire.ids import USUAL_MEMBERS, Members
from wire.json_pointers import tokens

SECRETS = "EDGE_SECRET_"
"""Names of variables with passwords begin so."""
SECRET = re.compile(f"{SECRETS}[A-Za-z0-9_]+")


def _is_secret(name: str) -> str:
    """A document may come from a twin, and its author must not be able to send any variable of this process to a server."""
    if SECRET.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not a variable for passwords: these begin with {SECRETS}, as in {SECRETS}PLC")
    return name


PasswordVariable = Annotated[str, AfterValidator(_is_secret)]


class SequenceConfig(BaseModel):
    """How payloads are counted."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)

    counter: str = Field(
        "/sequence",
        description="JSON pointer to the counter: a whole number, or text of its digits if this is set. Of a variable that "
        "is a counter itself: `/value`.",
    )
    epoch: str = Field("/epoch", description="JSON pointer to what changes when the counter starts over; it may be missing.")
    restarts: Literal["report", "new-epoch"] = Field(
        "report",
        description="What to do when a counter starts over without another epoch: count and log it, or also give the "
        "readings from then on an epoch that is made from their source time; see identity.md.",
    )

    @field_validator("counter", "epoch")
    @classmethod
    def _pointer(cls, value: str) -> str:
        if not tokens(value):
            raise ValueError("must name a member, for example /n")
        return value

    @model_validator(mode="after")
    def _differ(self) -> SequenceConfig:
        if self.counter == self.epoch:
            raise ValueError("counter and epoch must be different members")
        return self

    @property
    def members(self) -> Members:
        if not {"counter", "epoch"} & self.model_fields_set:
            return USUAL_MEMBERS
        return Members(tokens(self.counter), tokens(self.epoch), reads_text="counter" in self.model_fields_set)


USUAL_SEQUENCE = SequenceConfig.model_validate({})


class CommonConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=64, description="Name in logs and metrics.")
    identity: str = Field(
        description="One strategy, or rules `pattern=strategy` separated by commas. Sources of kind `opcua` may leave it "
        "out: it is `source-time+value` then, and with `sampling: aligned` it is `source-time`."
    )
    sequence: SequenceConfig = Field(USUAL_SEQUENCE, description="Where payloads have their counters; see below.")
    event_type: str = Field(READING_TYPE, description="CloudEvents type of its events.")

    @field_validator("*")
    @classmethod
    def _no_null(cls, value: object) -> object:
        if isinstance(value, str | Path) and "\0" in str(value):
            raise ValueError("has a null character, which no path, host or topic can have")
        return value

    @field_validator("identity")
    @classmethod
    def _identity(cls, value: str) -> str:
        parse_rules(value)
        return value

    @model_validator(mode="after")
    def _has_times(self) -> CommonConfig:
        if self.sequence.restarts == "new-epoch" and getattr(self, "time", "its own") is None:
            raise ValueError("sequence.restarts: new-epoch needs source times: set time, or leave it at report")
        return self

    @property
    def rules(self) -> IdentityRules:
        return parse_rules(self.identity, self.sequence.members, opens_epochs=self.sequence.restarts == "new-epoch")
