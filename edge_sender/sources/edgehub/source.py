"""The messages of other modules on the same gateway as a source, so that a plant becomes redundant without a change of them.

Source: https://learn.microsoft.com/azure/iot-edge/module-composition (routes, inputs)
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from edge_sender.ports import Inputs, Intake, ModuleMessage, UplinkError
from edge_sender.sources.edgehub.format import ModuleFormat
from edge_sender.sources.misfits import Misfit

logger = logging.getLogger(__name__)

REASONS = ("no-reading", "refused", "unreadable", "other-input")
QUIET = ("no-reading",)
"""What is usual, such as metadata, and not logged."""
RETRY_SECONDS = 1.0
ONE_READER = "what other modules send is given to the sender that runs, and can't be read beside it"


class EdgeHubSource:
    def __init__(self, name: str, input_name: str, form: ModuleFormat, inputs: Inputs | None) -> None:
        """Without `inputs` it says that it can't be read here."""
        self.name = name
        self.is_up = False
        self.problem: str | None = "not connected yet"
        self.notice: str | None = None
        self.skipped = Counter(dict.fromkeys(REASONS, 0))
        self.unacknowledged = 0
        self._input = input_name
        self._format = form
        self._inputs = inputs

    async def run(self, intake: Intake) -> None:
        if self._inputs is None:
            self.problem = ONE_READER
            await asyncio.Event().wait()
            return
        with self._inputs.listening(self._input, lambda message: self._take(message, intake)):
            while True:
                await self._subscribe(self._inputs)
                await asyncio.sleep(RETRY_SECONDS)

    async def _subscribe(self, inputs: Inputs) -> None:
        try:
            await inputs.subscribe()
        except UplinkError as error:
            self._note(str(error))
        else:
            self._note(None)

    def _take(self, message: ModuleMessage, intake: Intake) -> None:
        """The hub keeps the message until its readings are on disk."""
        self._take_readings(message, intake)
        intake.when_kept(message.acknowledge)

    def _take_readings(self, message: ModuleMessage, intake: Intake) -> None:
        if message.input != self._input:
            self._skip(Misfit("other-input", f"a route leads into the input {message.input!r}, which is no source's"))
            return
        for sample in self._format.samples(message):
            if isinstance(sample, Misfit):
                self._skip(sample)
            else:
                intake.take(sample)

    def _skip(self, misfit: Misfit) -> None:
        self.skipped[misfit.reason] += 1
        if misfit.reason not in QUIET:
            self.notice = f"{misfit.reason}: {misfit}"
            if self.skipped[misfit.reason] == 1:
                logger.warning("%s: %s; further ones will only be counted: %s", self.name, misfit.reason, misfit)

    def _note(self, problem: str | None) -> None:
        """Log changes of state, not every failure."""
        if problem is not None and self.is_up:
            logger.warning("%s: the input %s is not heard: %s", self.name, self._input, problem)
        elif problem is None and not self.is_up:
            logger.info("%s: hears the input %s", self.name, self._input)
        self.is_up, self.problem = problem is None, problem
