"""The operator's rules for which identity strategy a source has, and the ids minted by them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from wire.ids import Identity, NoIdentityError, Sample, parse_strategy, reading_id


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """A source's strategy is that of the first rule whose pattern matches its URI."""

    rules: tuple[tuple[str, Identity], ...]

    def of(self, source: str) -> Identity:
        for pattern, identity in self.rules:
            if fnmatchcase(source, pattern):
                return identity
        raise NoIdentityError(f"{source}: no identity rule matches this source")


def parse_rules(text: str) -> IdentityRules:
    """Rules `pattern=strategy` separated by commas; a strategy alone applies to all sources. Raises ValueError."""
    rules: list[tuple[str, Identity]] = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        pattern, equals, strategy = item.rpartition("=")
        rules.append((pattern if equals else "*", parse_strategy(strategy.strip())))
    if not rules:
        raise ValueError("names no strategy")
    return IdentityRules(tuple(rules))


def mint(sample: Sample, rules: IdentityRules) -> str:
    """The id of the reading. Raises NoIdentityError."""
    identity = rules.of(sample.source)
    return reading_id(sample.source, identity.name, identity.fields(sample))
