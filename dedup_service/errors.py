"""Errors, classified by what the caller does about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum


class DependencyKind(StrEnum):
    """The kinds of things that this service depends on, as messages and the metrics' label `dependency` call them."""

    REDIS = "Redis"
    REDIS_CONNECTION = "the Redis connection"
    LEASE = "the lease"
    CHECKPOINTS = "the checkpoint store"
    INPUT_HUB = "the input hub"
    INPUT_HUB_READING = "the input hub (reading)"
    INPUT_HUB_SENDING = "the input hub (sending)"
    CLEAN_HUB = "the clean hub"
    CLEAN_HUB_READING = "the clean hub (reading)"
    DEAD_LETTER_HUB = "the dead-letter hub"


@dataclass(frozen=True, slots=True)
class Dependency:
    """Something that this service waits for while it is unavailable."""

    kind: DependencyKind
    name: str = ""
    """Which one, where there are several of a kind."""
    part: str = ""
    """The part of it that is meant, such as a partition: it is unavailable by itself, but not named in messages and
    metrics."""

    def __str__(self) -> str:
        what, bracket, use = self.kind.partition(" (")
        return f"{what} {self.name}".rstrip() + bracket + use


class DedupError(Exception):
    """Base of all errors that this service raises on purpose."""


class UnavailableError(DedupError):
    """Slow down and retry: a store or a hub can't be used right now, and nothing is lost by waiting.

    `ambiguous` is true when the operation may nevertheless have been applied; `refused` when the credentials or the name
    were not accepted, which at the start means that a setting is wrong; `cut_off` when the connection broke or could not be
    made, so that nobody has said anything.
    """

    def __init__(
        self,
        dependency: Dependency,
        problem: str,
        *,
        ambiguous: bool = False,
        refused: bool = False,
        cut_off: bool = False,
    ) -> None:
        super().__init__(f"{dependency}: {problem}")
        self.dependency = dependency
        self.problem = problem
        self.ambiguous = ambiguous
        self.refused = refused
        self.cut_off = cut_off


class ShutOutError(UnavailableError):
    """Other readers of the consumer group have the partition."""


class ForgottenError(DedupError):
    """Redis has forgotten claims: wait until they are rebuilt, and ask again. Of what was asked, nothing was done in the
    shard that has forgotten."""


TOO_LARGE = "too-large"
PROCESSING_FAILED = "processing-failed"
UNSUPPORTED_PROPERTY = "unsupported-property"
"""Reasons of UndeliverableError that decide what happens next."""


class UndeliverableError(DedupError):
    """Dead-letter: repeating can't help. `reason` is a metric label; `looks_like`, a name of wire.formats.recognise.SHAPES,
    says what the event seems to be, if anything."""

    def __init__(self, reason: str, detail: str, looks_like: str | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.looks_like = looks_like


class LeaseLostError(DedupError):
    """Another owner has the partition: leave everything unfinished as it is, and take the lease again."""


class StoppingError(DedupError):
    """The service stops while a dependency is down: leave the batch unfinished for the partition's next owner."""


class HubRecreatedError(DedupError):
    """The finished position belongs to another input hub: forget the position and start again."""


MISSING = "is missing"
"""How problems of settings begin that are not there."""


class ConfigurationError(DedupError):
    """Stop, with a message that names the setting, says what is wrong and shows an example."""

    def __init__(self, setting: str, problem: str, example: str) -> None:
        super().__init__(f"{setting}: {problem}. Example: {setting}={example}")
        self.setting, self.problem, self.example = setting, problem, example

    @property
    def all(self) -> list[ConfigurationError]:
        """Each of its problems as an error of its own."""
        return [self]


class SeveralSettingsError(ConfigurationError):
    """Several problems in one message, a line each, so that whoever starts the service need not start it once for each."""

    def __init__(self, errors: Sequence[ConfigurationError]) -> None:
        DedupError.__init__(self, "\n".join([f"{len(errors)} settings are missing or wrong:", *map(str, errors)]))
        self._errors = list(errors)

    @property
    def all(self) -> list[ConfigurationError]:
        return self._errors


class ConfigurationProblems:
    """Collects SeveralSettingsError, and raises them together. Of several about one setting, the first counts."""

    def __init__(self, misspelt: Mapping[str, str] | None = None) -> None:
        """`misspelt`: by setting, the variable that is there in its place."""
        self._by_setting: dict[str, ConfigurationError] = {}
        self._misspelt = misspelt or {}

    def note(self, setting: str, problem: str, example: str) -> None:
        if problem.startswith(MISSING) and setting in self._misspelt:
            problem = f"{MISSING}, and {self._misspelt[setting]}, which is there, is no setting"
        self._by_setting.setdefault(setting, ConfigurationError(setting, problem, example))

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Notes what the block raises, and goes on behind it."""
        try:
            yield
        except ConfigurationError as error:
            for problem in error.all:
                self.note(problem.setting, problem.problem, problem.example)

    def raise_all(self) -> None:
        """Raises ConfigurationError, if there is one."""
        errors = list(self._by_setting.values())
        if len(errors) > 1:
            raise SeveralSettingsError(errors)
        if errors:
            raise errors[0]
