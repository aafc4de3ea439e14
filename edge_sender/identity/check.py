"""Checks whether the identity rules suit a source, by comparing the ids of a second, temporary subscription."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from edge_sender.identity.determinism import Comparison, Finding
from edge_sender.identity.rules import IdentityRules
from edge_sender.ports import Intake, Source, SourceConfigError
from wire.ids import Sample

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
EXAMPLES = 3


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
        self.findings: list[Finding] | None = None
        """Findings of the last check; None until the first one is done."""
        self._source = source
        self._make_probe = make_probe
        self._rules = rules
        self._monotonic = monotonic
        self._seconds = seconds
        self._every_seconds = every_seconds
        self._comparison: Comparison | None = None

    @property
    def source(self) -> str:
        return self._source.name

    async def run(self) -> None:
        while True:
            try:
                self._report(await self._look())
            except SourceConfigError as error:  # a file that it needs has changed, or is just being replaced
                logger.warning("the identity check is postponed: %s", error)
            await asyncio.sleep(self._every_seconds)

    async def _look(self) -> list[Finding]:
        """Run one comparison. Restart it if a connection was lost, since what one side missed says nothing about the ids."""
        while True:
            probe = self._make_probe()
            comparison = self._comparison = Comparison(self._rules)
            probing = asyncio.create_task(probe.run(ProbeIntake(comparison, self._monotonic)))
            try:
                while not (probe.is_up and self._source.is_up):
                    await asyncio.sleep(POLL_SECONDS)
                start = self._monotonic()
                if await self._stay_up(probe, start + self._seconds):
                    return comparison.findings(start, self._monotonic())
            finally:
                self._comparison = None
                probing.cancel()
                await asyncio.gather(probing, return_exceptions=True)

    async def _stay_up(self, probe: Source, until: float) -> bool:
        while self._monotonic() < until:
            if not (probe.is_up and self._source.is_up):
                return False
            await asyncio.sleep(POLL_SECONDS)
        return True

    def observe(self, sample: Sample) -> None:
        if self._comparison is not None:
            self._comparison.observe(0, sample, self._monotonic())

    def _report(self, findings: list[Finding]) -> None:
        """Log one line for each kind of problem, not one for each source."""
        if not findings and self.findings is None:
            logger.info("%s: both subscriptions yield the same ids", self.source)
        self.findings = findings
        for problem, count in Counter(finding.problem for finding in findings).items():
            examples = [finding for finding in findings if finding.problem is problem][:EXAMPLES]
            told = "; ".join(f"{item.uri} ({item.strategy}): {item.text}" for item in examples)
            logger.warning("%s: identity %s for %d of its sources, for example %s", self.source, problem, count, told)


@dataclass(frozen=True, slots=True)
class CheckedIntake:
    """The source's own intake, observed by the check."""

    intake: Intake
    check: IdentityCheck

    def take(self, sample: Sample, position: str | None = None, *, initial: bool | None = None) -> None:
        self.check.observe(sample)
        self.intake.take(sample, position, initial=initial)

    async def room(self) -> None:
        await self.intake.room()

    def position(self) -> str | None:
        return self.intake.position()


@dataclass(frozen=True, slots=True)
class ProbeIntake:
    """Compares what the second subscription delivers, and drops it."""

    comparison: Comparison
    monotonic: Callable[[], float]

    def take(self, sample: Sample, position: str | None = None, *, initial: bool | None = None) -> None:
        self.comparison.observe(1, sample, self.monotonic())

    async def room(self) -> None:
        return

    def position(self) -> str | None:
        return None
