"""`dedup-service check`: whether a running service is healthy, its API answers, and a reading gets through exactly once."""

from __future__ import annotations

import asyncio
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from dedup_service.api.tls import trusting
from dedup_service.core.groups import CLOUDEVENTS, OBSERVE, Group, Groups
from dedup_service.core.input_log import InputLog
from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.core.resolve import PublishedOrigins
from dedup_service.errors import UnavailableError
from dedup_service.ports.hubs import CleanTail, Publisher

SOURCE = "urn:redundant-edge-dedup:check"
REPLICAS = ("dedup-check-0", "dedup-check-1", "dedup-check-2")
GROUP = f"{{name: dedup-check, devices: [dedup-check-*], sources: ['{SOURCE}'], format: cloudevents}}"
"""A group for the copies alone, as the configuration file takes it."""
POLL_SECONDS = 0.2
HTTP_SECONDS = 5.0


class CheckFailedError(Exception):
    """The message says what was checked, and what it answered."""


class NotNowError(CheckFailedError):
    """There is no answer now, or the service can't give it yet."""


@dataclass(frozen=True, slots=True)
class RoundTripPorts:
    input: Publisher
    clean: Publisher
    tail: CleanTail


def refusal(groups: Sequence[Group]) -> str | None:
    """Why the copies of a round trip would not be published, and the group that is missing; None where they would be."""
    known = Groups(groups)
    group = known.of_replica(REPLICAS[0])
    if group is None:
        problem = f"no group has the device {REPLICAS[0]}"
    elif not known.allows(group, SOURCE):
        problem = f"group {group.name}, which has the device {REPLICAS[0]}, does not allow the source {SOURCE}"
    elif CLOUDEVENTS not in group.formats:
        problem = f"group {group.name}, which has the device {REPLICAS[0]}, does not read CloudEvents"
    elif group.mode == OBSERVE:
        problem = f"group {group.name}, which has the device {REPLICAS[0]}, has mode {OBSERVE} and publishes nothing"
    else:
        return None
    return f"the round trip would not get through: {problem}. Add this group before all others: {GROUP}"


@dataclass(slots=True)
class Checker:
    url: str
    """Address of the running service, without a trailing slash."""
    token: str | None = field(repr=False)
    session: aiohttp.ClientSession
    _not_now: str = ""
    """Why the last question of a round trip has no answer."""

    async def _get(self, path: str, **query: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            async with self.session.get(self.url + path, headers=headers, params=query) as response:
                is_json = response.content_type == "application/json"
                return response.status, await (response.json() if is_json else response.text())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NotNowError(f"{self.url}{path}: no answer ({type(error).__name__})") from None

    async def _ok(self, path: str, **query: str) -> Any:
        status, answer = await self._get(path, **query)
        if status != HTTPStatus.OK:
            may_pass = status == HTTPStatus.NOT_FOUND or status >= HTTPStatus.INTERNAL_SERVER_ERROR
            raise (NotNowError if may_pass else CheckFailedError)(f"{self.url}{path}: HTTP {status}: {answer}")
        return answer

    async def _in_time(self, path: str, **query: str) -> Any:
        """As `_ok`, for a round trip, which has time to ask again."""
        while True:
            try:
                answer = await self._ok(path, **query)
            except NotNowError as error:
                self._not_now = f"; {error}"
                await asyncio.sleep(POLL_SECONDS)
            else:
                self._not_now = ""
                return answer

    async def health(self) -> str:
        await self._ok("/healthz")
        return "healthy"

    async def api(self) -> str:
        """Checks readiness, metrics and figures. Raises CheckFailedError."""
        await self._ok("/readyz")
        if "dedup_input_events_total" not in await self._ok("/metrics"):
            raise CheckFailedError(f"{self.url}/metrics: lacks dedup_input_events_total")
        stats = await self._ok("/v1/stats")
        return f"ready: mode {stats['mode']}, {len(stats['pods'])} pods, {stats['totals']['clean_readings']} clean readings"

    async def round_trip(self, ports: RoundTripPorts, deadline_seconds: float) -> str:
        """Sends a reading to several partitions, and expects it in the clean hub once. Raises CheckFailedError."""
        reading_id = uuid.uuid4().hex
        started = time.monotonic()
        try:
            async with asyncio.timeout(deadline_seconds):
                before = await ports.clean.ends()
                sent_to = await _send_copies(ports.input, reading_id)
                origin = await self._published(reading_id)
                seconds = time.monotonic() - started
                await self._all_finished(sent_to)
                found = await _count(ports.tail, before, origin)
        except TimeoutError:
            raise CheckFailedError(
                f"the reading {reading_id} of {SOURCE} did not get through in {deadline_seconds:.0f} s{self._not_now}"
            ) from None
        except UnavailableError as error:
            raise CheckFailedError(str(error)) from None
        if found != 1:
            raise CheckFailedError(f"the reading {reading_id} of {SOURCE} is in the clean hub {found} times")
        return f"round trip: {len(REPLICAS)} copies sent, 1 in the clean hub after {seconds:.1f} s"

    async def _published(self, reading_id: str) -> str:
        """Waits until the reading is published, and returns the origin of the copy that won."""
        while True:
            key, *_ = await self._in_time("/v1/keys", source=SOURCE, id=reading_id)
            if key["verdict"] == "published":
                return str(key["winner_origin"])
            await asyncio.sleep(POLL_SECONDS)

    async def _all_finished(self, sent_to: Mapping[str, int]) -> None:
        """Waits until every copy has been processed: before that, a second one could still reach the clean hub."""
        while True:
            partitions = await self._in_time("/v1/partitions")
            positions = {item["partition"].rpartition("/")[2]: item["sequence_number"] for item in partitions}
            if all(positions.get(partition, -1) >= number for partition, number in sent_to.items()):
                return
            await asyncio.sleep(POLL_SECONDS)


async def _send_copies(hub: Publisher, reading_id: str) -> dict[str, int]:
    """Returns the end of each partition that got a copy."""
    properties = {
        "cloudEvents_specversion": "1.0",
        "cloudEvents_type": "check",
        "cloudEvents_source": SOURCE,
        "cloudEvents_id": reading_id,
    }
    partitions = await hub.partition_ids()
    chosen = [partitions[number % len(partitions)] for number in range(len(REPLICAS))]
    for replica, partition in zip(REPLICAS, chosen, strict=True):
        copy = OutgoingEvent(
            body=b"{}",
            properties={**properties, "cloudEvents_replica": replica},
            content_type="application/json",
            content_encoding=None,
            message_id=reading_id,
            correlation_id=None,
            readings=1,
        )
        await hub.publish(partition, [copy])
    ends = await hub.ends()
    return {partition: ends[partition] for partition in chosen}


async def _count(tail: CleanTail, before: Mapping[str, int], origin: str) -> int:
    incarnation, partition, number, index = origin.split("/")
    log = InputLog(int(incarnation, 16), int(partition))
    wanted, published = log.origin(int(number), int(index)), PublishedOrigins(log)
    found: dict[str, set[int]] = {output: set() for output in before}  # a reading that was interrupted shows events again

    def see(output: str, place: int, properties: Mapping[str, Any]) -> None:
        if wanted in published.of(properties):
            found[output].add(place)

    for output, end in before.items():
        await tail.read(output, end, partial(see, output))
    return sum(map(len, found.values()))


@asynccontextmanager
async def checker(url: str, token: str | None, certificate: Path | None, ca_file: Path | None) -> AsyncIterator[Checker]:
    """`certificate`: the service's own, which is trusted whatever name it is reached by. Without it, what the system or
    `ca_file` trusts is trusted. Raises CheckFailedError."""
    timeout = aiohttp.ClientTimeout(total=HTTP_SECONDS)
    try:
        tls = ssl.create_default_context(cafile=ca_file) if certificate is None else trusting(certificate)
    except (OSError, ValueError) as error:
        raise CheckFailedError(f"{certificate or ca_file} can't be read as PEM certificates ({error})") from None
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(ssl=tls)) as session:
        yield Checker(url.rstrip("/"), token, session)
