"""What every source has in the sources' document."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

from edge_sender.identity.rules import IdentityRules, parse_rules
from wire.cloudevents import READING_TYPE


class CommonConfig(BaseModel):
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
