"""Checks whether the identity rules suit a source, by comparing what a second, temporary subscription delivers."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from edge_sender.identity.comparison import Comparison
from edge_sender.identity.judging import Verdict
from edge_sender.identity.rules import IdentityRules
from edge_sender.ports import Intake, Placed, Source, SourceConfigError
from wire.ids import Sample

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
CONNECT_SECONDS = 30.0
"""After so long the second subscription is given up until the next check."""
SUSPECT_SECONDS = 5.0
"""If the source's own connection is lost so soon after the second one is there, the server has ended it for that one."""
EXAMPLES = 3


class NoProbeError(Exception):
    """There is no second subscription to compare with; the message says why."""


class IdentityCheck:
    """`make_probe` makes a second subscription to the same source."""

    def __init__(
        self,
        source: Source,
        make_probe: Callable[[], Source],
        rules: IdentityRules,
        monotonic: Callable[[], float],
        *,
        seconds: float,
        every_seconds: float,
    ) -> None:
        self.verdicts: list[Verdict] = []
        """Those of the last check, one for each of the source's own sources."""
        self.unjudged: str | None = "the first check is not finished yet"
        """Why there is no verdict."""
        self._source = source
        self._make_probe = make_probe
        self._rules = rules
        self._monotonic = monotonic
        self.seconds = seconds
        self.every_seconds = every_seconds
        self._comparison: Comparison | None = None
        self._ends_the_first = False
        self._place: str | None = None
        """Where the source was read when the second subscription was made."""

    def of(self, source: Source) -> IdentityCheck:
        """The same check, of a source that was made alike."""
        return IdentityCheck(
            source, self._make_probe, self._rules, self._monotonic, seconds=self.seconds, every_seconds=self.every_seconds
        )

    @property
    def source(self) -> str:
        return self._source.name

    async def run(self) -> None:
        while True:
            try:
                if not self._ends_the_first:
                    self._report(await self._look())
            except SourceConfigError as error:  # a file that it needs has changed, or is just being replaced
                self._postpone(str(error))
            except NoProbeError as error:
                self._postpone(str(error))
            await asyncio.sleep(self.every_seconds)

    async def _look(self) -> list[Verdict]:
        """Run one comparison. Restart it if a connection was lost, since what one side missed says nothing about the ids.

        Raises SourceConfigError and NoProbeError.
        """
        while True:
            await self._source_is_up()
            self._place = place_of(self._source)
            probe = self._make_probe()
            comparison = self._comparison = Comparison(self._rules)
            probing = asyncio.create_task(probe.run(ProbeIntake(comparison, self._monotonic)))
            try:
                if not await self._both_come_up(probe, probing):
                    continue
                start = self._monotonic()
                if await self._both_stay_up(probe, start + self.seconds):
                    return comparison.verdicts(start, self._monotonic())
                self._require_innocence(start)
                if self._source_stays():
                    raise NoProbeError("the server ended the second subscription")
            finally:
                self._comparison = None
                probing.cancel()
                await asyncio.gather(probing, return_exceptions=True)

    async def _source_is_up(self) -> None:
        while not self._source.is_up:
            await asyncio.sleep(POLL_SECONDS)

    async def _both_come_up(self, probe: Source, probing: asyncio.Task[None]) -> bool:
        """False if the source's own connection was lost meanwhile. Raises NoProbeError."""
        start = self._monotonic()
        while not probe.is_up:
            if not self._source_stays():
                self._require_innocence(start)
                return False
            if probing.done():
                raise NoProbeError(f"the second subscription ended: {probing.exception()!r}")
            if self._monotonic() - start > CONNECT_SECONDS:
                raise NoProbeError(f"the server granted no second subscription within {CONNECT_SECONDS:.0f} s")
            await asyncio.sleep(POLL_SECONDS)
        return self._source_stays()

    async def _both_stay_up(self, probe: Source, until: float) -> bool:
        while self._monotonic() < until:
            if not (probe.is_up and self._source_stays()):
                return False
            await asyncio.sleep(POLL_SECONDS)
        return True

    def _source_stays(self) -> bool:
        """Whether it is up, and reads the same server as the second subscription. What another one stamps tells nothing."""
        return self._source.is_up and place_of(self._source) == self._place

    def _require_innocence(self, start: float) -> None:
        """Raises NoProbeError, if the second subscription seems to have ended the first."""
        if place_of(self._source) == self._place and not self._source.is_up and self._monotonic() - start < SUSPECT_SECONDS:
            self._ends_the_first = True
            raise NoProbeError(
                "the connection was lost when a second one came, so the server seems to be short of sessions; no further "
                "check is made until the sender is restarted"
            )

    def observe(self, sample: Sample) -> None:
        if self._comparison is not None:
            self._comparison.observe(0, sample, self._monotonic())

    def _postpone(self, why: str) -> None:
        if why != self.unjudged:
            logger.warning("%s: the identity check is postponed: %s", self.source, why)
        self.unjudged = why

    def _report(self, verdicts: list[Verdict]) -> None:
        """Log one line for each kind of problem, not one for each source."""
        before, self.verdicts = self.verdicts, verdicts
        self.unjudged = None if verdicts else "neither subscription delivered anything"
        findings = [(verdict, finding) for verdict in verdicts for finding in verdict.findings]
        judged = sum(verdict.unjudged is None for verdict in verdicts)
        if not findings and not before:
            counts = f"{judged} of {len(verdicts)} sources judged"
            logger.info("%s: both subscriptions yield the same ids (%s)", self.source, counts)
        for problem, count in Counter(finding.problem for _, finding in findings).items():
            examples = [(verdict, finding) for verdict, finding in findings if finding.problem is problem][:EXAMPLES]
            told = "; ".join(f"{verdict.uri} ({verdict.strategy}): {finding.text}" for verdict, finding in examples)
            logger.warning("%s: identity %s for %d of its sources, for example %s", self.source, problem, count, told)


def place_of(source: Source) -> str | None:
    return source.place if isinstance(source, Placed) else None


@dataclass(frozen=True, slots=True)
class CheckedIntake:
    """The source's own intake, observed by the check."""

    intake: Intake
    check: Callable[[], IdentityCheck | None]
    """The check that there is at the moment."""

    def take(self, sample: Sample, position: str | None = None, *, initial: bool | None = None) -> None:
        if (check := self.check()) is not None:
            check.observe(sample)
        self.intake.take(sample, position, initial=initial)

    def when_kept(self, call: Callable[[], None]) -> None:
        self.intake.when_kept(call)

    async def room(self) -> None:
        await self.intake.room()

    def position(self) -> str | None:
        return self.intake.position()

    def handed_over(self) -> str | None:
        return self.intake.handed_over()

    def is_due(self) -> bool:
        return self.intake.is_due()


@dataclass(frozen=True, slots=True)
class ProbeIntake:
    """Compares what the second subscription delivers, and drops it."""

    comparison: Comparison
    monotonic: Callable[[], float]

    def take(self, sample: Sample, position: str | None = None, *, initial: bool | None = None) -> None:
        self.comparison.observe(1, sample, self.monotonic())

    def when_kept(self, call: Callable[[], None]) -> None:
        call()

    async def room(self) -> None:
        return

    def position(self) -> str | None:
        return None

    def handed_over(self) -> str | None:
        return None

    def is_due(self) -> bool:
        return True
