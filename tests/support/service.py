"""The dedup service inside the test process, with its real adapters."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from dedup_service.bootstrap import build
from dedup_service.config.loading import load
from dedup_service.config.settings import Settings
from dedup_service.service import Service
from dedup_service.telemetry import Count, Telemetry
from sandbox.hub.stand_in import StandIn

DEADLINE_SECONDS = 60.0


class RunningService:
    def __init__(self, service: Service, telemetry: Telemetry, token: str | None) -> None:
        self._service = service
        self.token = token
        self.telemetry = telemetry

    @property
    def http_port(self) -> int:
        """0 until it listens."""
        return self._service.http_port

    async def get(self, path: str, token: str | None = None) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self._service.http_port}{path}", headers=headers)

        def fetch() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as response:
                    return response.status, response.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()
            except urllib.error.URLError:
                return 0, "nothing listens yet"

        return await asyncio.to_thread(fetch)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition():
                await asyncio.sleep(0.02)

    async def until_events(self, count: int) -> None:
        """Waits until `count` input events are finished."""
        await self.until(lambda: self.telemetry.total(Count.INPUT_EVENTS) >= count)

    async def until_ready(self) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (await self.get("/readyz"))[0] != HTTPStatus.OK:
                await asyncio.sleep(0.05)

    async def ask(self, path: str) -> Any:
        """The API's answer as JSON; the test fails if the status is not 200."""
        status, text = await self.get(path, self.token)
        assert status == HTTPStatus.OK, text
        return json.loads(text)

    async def until_totals(self, **totals: int) -> dict[str, Any]:
        """Waits until the deployment's totals, to which pods add once a second, are these; returns the stats."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not totals.items() <= (stats := await self.ask("/v1/stats"))["totals"].items():
                await asyncio.sleep(0.1)
        return dict(stats)

    def count(self, what: Count) -> int:
        return self.telemetry.total(what)


def settings_of(stand_in: StandIn, redis_url: str, folder: Path, namespace: str | None, **overrides: Any) -> Settings:
    return load(
        **{
            "input_connection_string": stand_in.connection_string("telemetry"),
            "input_consumer_group": "dedup",
            "output_connection_string": stand_in.connection_string("clean"),
            "output_consumer_group": "dedup",
            "dead_letter_connection_string": stand_in.connection_string("dead-letter"),
            "redis_url": redis_url,
            "namespace": namespace,
            "checkpoint_url": f"sqlite:///{folder / 'checkpoints.db'}",
            "http_host": "127.0.0.1",
            "http_port": 0,
            **overrides,
        }
    )


@asynccontextmanager
async def running_service(
    stand_in: StandIn, redis_url: str, folder: Path, namespace: str, **overrides: Any
) -> AsyncIterator[RunningService]:
    telemetry = Telemetry()
    service = build(settings_of(stand_in, redis_url, folder, namespace, **overrides), telemetry)
    task = asyncio.create_task(service.run())
    try:
        yield RunningService(service, telemetry, overrides.get("api_token"))
    finally:
        service.stop()
        await asyncio.wait_for(task, DEADLINE_SECONDS)
