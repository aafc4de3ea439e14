"""REST: health, readiness, metrics and stats."""

from __future__ import annotations

import contextlib
import hmac
import time
from collections.abc import Callable, Iterator
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from pydantic import BaseModel

from dedup_service import __version__
from dedup_service.telemetry import Count, Telemetry, TelemetryCollector, lag_seconds

_bearer = HTTPBearer(auto_error=False)


class Health(BaseModel):
    status: str
    detail: str = ""


class Totals(BaseModel):
    input_events: int
    copies: int
    winners: int
    duplicates: int
    conflicts: int
    replays: int
    in_doubt_found: int
    """Copies in doubt that the clean stream had already."""
    in_doubt_published: int
    """Copies in doubt that it had not."""
    clean_events: int
    clean_readings: int
    dead_lettered: int
    ignored_events: int


class ReplicaStats(BaseModel):
    replica: str
    copies: int
    winners: int
    duplicates: int
    last_seen_ms: int


class PartitionStats(BaseModel):
    partition: str
    sequence_number: int
    lag_seconds: float


class Stats(BaseModel):
    version: str
    uptime_seconds: float
    totals: Totals
    replicas: list[ReplicaStats]
    partitions: list[PartitionStats]
    paused: dict[str, str]


def stats(telemetry: Telemetry, now_ms: int) -> Stats:
    copies = telemetry.counts[Count.COPIES]
    return Stats(
        version=__version__,
        uptime_seconds=(now_ms - telemetry.started_ms) / 1000,
        totals=Totals(
            input_events=telemetry.total(Count.INPUT_EVENTS),
            copies=telemetry.total(Count.COPIES),
            winners=telemetry.total(Count.WINNERS),
            duplicates=telemetry.total(Count.DUPLICATES),
            conflicts=telemetry.total(Count.CONFLICTS),
            replays=telemetry.total(Count.REPLAYS),
            in_doubt_found=telemetry.counts[Count.IN_DOUBT]["found"],
            in_doubt_published=telemetry.counts[Count.IN_DOUBT]["published"],
            clean_events=telemetry.total(Count.CLEAN_EVENTS),
            clean_readings=telemetry.total(Count.CLEAN_READINGS),
            dead_lettered=telemetry.total(Count.DEAD_LETTERED),
            ignored_events=telemetry.total(Count.IGNORED),
        ),
        replicas=[
            ReplicaStats(
                replica=replica,
                copies=copies[replica],
                winners=telemetry.counts[Count.WINNERS][replica],
                duplicates=telemetry.counts[Count.DUPLICATES][replica],
                last_seen_ms=telemetry.last_seen_ms.get(replica, 0),
            )
            for replica in sorted(copies)
        ],
        partitions=[
            PartitionStats(partition=p, sequence_number=f.sequence_number, lag_seconds=lag_seconds(f, now_ms))
            for p, f in sorted(telemetry.partitions.items())
        ],
        paused={dependency: pause.problem for dependency, pause in telemetry.paused.items()},
    )


def create_app(
    telemetry: Telemetry, *, alive: Callable[[], bool], not_ready: Callable[[], str | None], token: str | None
) -> FastAPI:
    """`not_ready` says why the service is not ready, or None when it is."""
    app = FastAPI(title="dedup-service", version=__version__)
    registry = CollectorRegistry()
    registry.register(TelemetryCollector(telemetry))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)

    def authorized(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
        if token is not None and (given is None or not hmac.compare_digest(given.credentials.encode(), token.encode())):
            raise HTTPException(401, "needs Authorization: Bearer with DEDUP_API_TOKEN", {"WWW-Authenticate": "Bearer"})

    @app.get("/healthz", responses={503: {"model": Health}})
    def healthz(response: Response) -> Health:
        """False only when this process is stuck, never because Redis or a hub is down."""
        if alive():
            return Health(status="ok")
        response.status_code = 503
        return Health(status="stuck", detail="a partition's worker has ended")

    @app.get("/readyz", responses={503: {"model": Health}})
    def readyz(response: Response) -> Health:
        reason = not_ready()
        if reason is None:
            return Health(status="ready")
        response.status_code = 503
        return Health(status="not-ready", detail=reason)

    @app.get("/metrics", response_class=Response)
    def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/v1/stats", dependencies=[Depends(authorized)], responses={401: {"description": "no valid token"}})
    def get_stats() -> Stats:
        return stats(telemetry, time.time_ns() // 1_000_000)

    return app


class ApiServer(uvicorn.Server):
    """Runs in the service's event loop; signals belong to the service."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
