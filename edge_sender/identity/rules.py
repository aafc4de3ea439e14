"""The operator's rules for which identity strategy a source has, and the ids minted by them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from wire.ids import Content, Identity, NoIdentityError, Sample, Sequence, SourceTime, TimeBucket, reading_id

NS_PER_SECOND = 1_000_000_000


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
        rules.append((pattern if equals else "*", _parse_strategy(strategy.strip())))
    if not rules:
        raise ValueError("names no strategy")
    return IdentityRules(tuple(rules))


def _parse_strategy(text: str) -> Identity:
    name, _, argument = text.partition(":")
    if name == "time-bucket":
        return _parse_time_bucket(argument)
    simple: dict[str, Identity] = {"source-time": SourceTime(), "sequence": Sequence(), "content": Content()}
    if name not in simple or argument:
        raise ValueError(f"{text!r} is not one of source-time, sequence, content, time-bucket:SECONDS[+PHASE]")
    return simple[name]


def _parse_time_bucket(argument: str) -> TimeBucket:
    interval, _, phase = argument.partition("+")
    try:
        bucket = TimeBucket(round(float(interval) * NS_PER_SECOND), round(float(phase or 0) * NS_PER_SECOND))
    except ValueError:
        raise ValueError(f"'time-bucket:{argument}' needs the interval in seconds, such as time-bucket:0.5") from None
    if bucket.interval_ns <= 0:
        raise ValueError(f"'time-bucket:{argument}' needs an interval above zero")
    return bucket


def mint(sample: Sample, rules: IdentityRules) -> str:
    """The id of the reading. Raises NoIdentityError."""
    identity = rules.of(sample.source)
    return reading_id(sample.source, identity.name, identity.fields(sample))
