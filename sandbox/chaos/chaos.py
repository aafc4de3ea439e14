"""`sandbox chaos`: kills services under load, cuts one off from its input and makes Redis forget, then audits which readings
were lost or doubled."""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console

from sandbox.audit.auditor import ReadingKey, Verdict, audit, read_clean_hub
from sandbox.chaos.cuts import Cutter, How
from sandbox.chaos.forgetting import Forgetter, Way, schedule
from sandbox.chaos.killing import Killer
from sandbox.chaos.load import Load
from sandbox.chaos.pauses import longest_seconds, pauses
from sandbox.chaos.pods import GROUP, Pods
from sandbox.chaos.takeovers import summary, takeover_seconds
from sandbox.hub.stand_in import HubOptions, StandIn
from sandbox.peers.processes import CANNOT_CONTINUE, ProcessError
from sandbox.peers.valkeys import ReplicatedValkey, replicated_valkey

SERVICES = 3
AUDIT_GROUP = "audit"
DRAIN_SECONDS = 180.0
SHOULD_FIND_FROM_KILLS = 20
"""From this number of kills on, some must have hit a send between its arrival in the clean stream and its confirmation."""


@dataclass(frozen=True, slots=True)
class ChaosOptions:
    kills: int
    seed: int
    rate: float
    late_seconds: float
    redis_restarts: int
    """Number of times Valkey is restarted empty. Duplicates are then possible, losses are not."""
    redis_failovers: int
    """Number of times a replica takes over that lacks the last acknowledged writes; with the same consequences."""
    cut_seconds: float
    """How long one service is cut off from the input hub, first silently and later by refusal; 0: not at all."""
    summary: Path | None


class Chaos:
    def __init__(self, options: ChaosOptions, console: Console, folder: Path, valkey: ReplicatedValkey, pods: Pods) -> None:
        self.options = options
        self._redis_url = valkey.url
        self._forgetter = Forgetter(valkey)
        self._console = console
        self._folder = folder
        self._rng = random.Random(options.seed)
        self._stand_in = StandIn(HubOptions(amqp_port=0, mqtt_port=None, consumer_groups=(GROUP, AUDIT_GROUP)))
        self._pods = pods
        self._killer = Killer(pods, self._stand_in.namespace.hubs["clean"].faults, self._rng)
        self._cutter = Cutter(pods, self._killer, self._input_ends)
        self._in_doubt = {"found": 0, "published": 0, "expired": 0}

    async def run(self) -> int:
        await self._stand_in.start()
        try:
            for number in range(SERVICES):
                await self._pods.add(f"service-{number}", self._stand_in, self._redis_url, self._folder)
            telemetry = self._stand_in.connection_string("telemetry")
            load, stop = Load(telemetry, self.options.rate, self.options.late_seconds, self._rng), asyncio.Event()
            loading = asyncio.create_task(load.run(stop))
            await self._pods.until_processing()
            await self._kill()
            stop.set()
            await loading
            await self._pods.until_finished(self._input_ends(), self._input_ends(), DRAIN_SECONDS)
            await self._note_in_doubt()
            return await self._judge(load)
        finally:
            await self._pods.stop()
            await self._stand_in.stop()

    # --- chaos

    async def _kill(self) -> None:
        kills = self.options.kills
        forgetting = schedule(kills, self.options.redis_restarts, self.options.redis_failovers)
        cuts: dict[int, How] = {1 + kills // 3: "silent", 1 + 2 * kills // 3: "refused"}
        cutting = asyncio.create_task(asyncio.sleep(0))
        for how in forgetting.get(0, []):
            await self._forget(how)
        for number in range(1, kills + 1):
            if self.options.cut_seconds and number in cuts:
                await cutting
                cutting = asyncio.create_task(self._cutter.cut_off(cuts[number], self.options.cut_seconds))
            await self._killer.kill_one()
            for how in forgetting.get(number, []):
                await self._forget(how)
            if number % 10 == 0 or number == kills:
                self._tell(f"{number} of {kills} kills")
        await cutting

    def _tell(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    async def _forget(self, how: Way) -> None:
        if how == "restart":  # a fail-over takes back no more of the totals than was counted in its last moments
            await self._note_in_doubt()
        forgotten = await self._forgetter.forget(how)
        lost = f"{forgotten.keys_lost} keys lost, {forgotten.values_lost} set back"
        self._tell(f"Valkey was restarted empty: {lost}" if how == "restart" else f"A replica of Valkey took over: {lost}")

    def _input_ends(self) -> dict[str, int]:
        partitions = self._stand_in.namespace.hubs["telemetry"].partitions
        return {partition.id: partition.next_sequence_number - 1 for partition in partitions}

    async def _note_in_doubt(self) -> None:
        """Add the totals of all services, which any of them reports, before Redis loses them."""
        stats = await self._pods.ask("stats")
        for outcome in self._in_doubt:
            self._in_doubt[outcome] += stats["totals"][f"in_doubt_{outcome}"]

    # --- audit

    async def _judge(self, load: Load) -> int:
        clean = await read_clean_hub(self._stand_in.connection_string("clean"), AUDIT_GROUP)
        verdict = audit(load.emitted, clean)
        figures = self._figures(load, verdict, clean)
        for name, value in figures.items():
            self._tell(f"  {name:<21} {value}")
        if self.options.summary is not None:
            document = {**figures, "options": {**asdict(self.options), "summary": None}, "examples": verdict.lost_examples}
            self.options.summary.write_text(json.dumps(document, indent=2) + "\n")
        failures = list(problems(verdict, found=self._in_doubt["found"], kills=len(self._killer.kills)))
        for failure in failures:
            self._tell(failure)
        return 1 if failures else 0

    def _figures(self, load: Load, verdict: Verdict, clean: list[tuple[ReadingKey, int]]) -> dict[str, Any]:
        kills, forgotten = self._killer.kills, self._forgetter.forgotten
        paused = pauses(load.emitted.values(), first_arrivals(clean))
        return {
            "kills": len(kills),
            "redis_restarts": sum(item.how == "restart" for item in forgotten),
            "redis_failovers": sum(item.how == "fail-over" for item in forgotten),
            "redis_forgot": [item.figures(paused) for item in forgotten],
            "input_cuts": [asdict(cut) for cut in self._cutter.cuts],
            "readings": len(load.emitted),
            "copies": load.copies,
            "lost": verdict.lost,
            "clean_duplicates": verdict.clean_duplicates,
            "longest_pause_seconds": longest_seconds(paused),
            "in_doubt_resolved": self._in_doubt,
            **summary(takeover_seconds({pod.name: pod.log for pod in self._pods.all}, kills)),
        }


def first_arrivals(clean: Iterable[tuple[ReadingKey, int]]) -> list[int]:
    """When each reading arrived for the first time."""
    first: dict[ReadingKey, int] = {}
    for key, enqueued_ns in clean:
        first[key] = min(enqueued_ns, first.get(key, enqueued_ns))
    return list(first.values())


def problems(verdict: Verdict, *, found: int, kills: int) -> Iterator[str]:
    """What makes a run fail. `found`: copies in doubt that takeovers found in the clean stream."""
    if verdict.lost:
        yield f"{verdict.lost} readings are lost, such as {verdict.lost_examples}."
    if verdict.unknown:
        yield f"{verdict.unknown} readings are in the clean stream that nobody sent."
    if verdict.clean_duplicates:
        yield f"{verdict.clean_duplicates} readings are in the clean stream twice."
    if kills >= SHOULD_FIND_FROM_KILLS and not found:
        yield (
            f"In {kills} kills, no takeover found a reading of its predecessor in the clean stream: this run does not show "
            "that takeovers prevent duplicates. Run it again with more kills, or with less other work on this machine."
        )


async def run(options: ChaosOptions) -> int:
    console = Console()
    with tempfile.TemporaryDirectory(prefix="dedup-chaos-") as folder:
        async with replicated_valkey() as valkey, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            try:
                return await Chaos(options, console, Path(folder), valkey, Pods(http)).run()
            except ProcessError as error:
                console.print(f"The run cannot continue: {error}", highlight=False, markup=False)
                return CANNOT_CONTINUE
