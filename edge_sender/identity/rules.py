"""The operator's rules for which identity strategy a source has, and the ids minted by them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from wire.ids import (
    USUAL_MEMBERS,
    Content,
    Count,
    Identity,
    Members,
    NoIdentityError,
    Sample,
    Sequence,
    parse_strategy,
    reading_id,
)

EVENT = Content()


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """A source's strategy is that of the first rule whose pattern matches its URI."""

    rules: tuple[tuple[str, Identity], ...]
    members: Members = USUAL_MEMBERS
    """Where payloads have their counters."""
    opens_epochs: bool = False
    """Whether a counter that starts over without an epoch is given one."""

    def of(self, source: str) -> Identity:
        for pattern, identity in self.rules:
            if fnmatchcase(source, pattern):
                return identity
        raise NoIdentityError(f"{source}: no identity rule matches this source")

    @property
    def strategies(self) -> tuple[Identity, ...]:
        return tuple(identity for _, identity in self.rules)

    def goes_by_counter(self, source: str) -> bool:
        """Raises NoIdentityError."""
        return isinstance(self.of(source), Sequence)


def parse_rules(text: str, members: Members = USUAL_MEMBERS, *, opens_epochs: bool = False) -> IdentityRules:
    """Rules `pattern=strategy` separated by commas; a strategy alone applies to all sources. Raises ValueError."""
    rules: list[tuple[str, Identity]] = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        pattern, equals, strategy = item.rpartition("=")
        identity = parse_strategy(strategy.strip())
        rules.append((pattern if equals else "*", Sequence(members) if isinstance(identity, Sequence) else identity))
    if not rules:
        raise ValueError("names no strategy")
    return IdentityRules(tuple(rules), members, opens_epochs)


def mint(sample: Sample, rules: IdentityRules, count: Count | None = None) -> str:
    """The id of the reading. `count`: what it is counted by, if its payload does not say all of it.

    Raises NoIdentityError.
    """
    identity = EVENT if sample.sent is not None and sample.sent.is_event else rules.of(sample.source)
    if sample.sent is not None and sample.data is None and isinstance(identity, Content):
        raise NoIdentityError(f"{sample.source}: nothing of its content is there")
    if count is not None and isinstance(identity, Sequence):
        return reading_id(sample.source, identity.name, identity.fields_of(count))
    return reading_id(sample.source, identity.name, identity.fields(sample))
