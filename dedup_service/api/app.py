"""The HTTP application: health, metrics, the API and the dashboard."""

from __future__ import annotations

import contextlib
import hmac
import ssl
from collections.abc import Awaitable, Callable, Iterator
from importlib.resources import files
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi_swagger import patch_fastapi
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry

from dedup_service import __version__
from dedup_service.api import pieces
from dedup_service.api.routes import create_router
from dedup_service.api.views.base import Health
from dedup_service.errors import UnavailableError
from dedup_service.observability.fleet import Fleet

_bearer = HTTPBearer(auto_error=False, description="DEDUP_API_TOKEN")
DASHBOARD = {
    "/": ("index.html", "text/html"),
    "/dashboard.css": ("dashboard.css", "text/css"),
    "/dashboard.js": ("dashboard.js", "text/javascript"),
}
DASHBOARD_POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:"
"""The page needs no internet, and runs no scripts but its own."""


def create_app(
    registry: CollectorRegistry,
    fleet: Fleet,
    *,
    alive: Callable[[], bool],
    not_ready: Callable[[], str | None],
    token: str | None,
    remark: Callable[[], str] = str,
) -> FastAPI:
    """`not_ready` says why the service is not ready, or None when it is; `remark`, what else there is to know of a service
    that is ready."""
    app = FastAPI(
        title="dedup-service",
        version=__version__,
        description="Turns the duplicate streams of redundant edges into one clean stream. Every pod answers for all.",
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    patch_fastapi(app, redirect_from_root_to_docs=False)  # serves /docs without scripts from the internet

    @app.exception_handler(UnavailableError)
    async def unavailable(_: Request, error: UnavailableError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 503)

    @app.middleware("http")
    async def harden(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    @app.get("/healthz", responses={503: {"model": Health, "description": "The process is stuck."}})
    async def healthz(response: Response) -> Health:
        """False only when this process is stuck, never because Redis or a hub is down."""
        if alive():
            return Health(status="ok")
        response.status_code = 503
        return Health(status="stuck", detail="a partition's worker has ended")

    @app.get("/readyz", responses={503: {"model": Health, "description": "Not ready; the answer says why."}})
    async def readyz(response: Response) -> Health:
        reason = not_ready()
        if reason is None:
            return Health(status="ready", detail=remark())
        response.status_code = 503
        return Health(status="not-ready", detail=reason)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {CONTENT_TYPE_LATEST: {}}}})
    async def metrics() -> Response:
        """Prometheus."""
        return await pieces.metrics(registry)

    for path, (name, media_type) in DASHBOARD.items():
        app.add_api_route(path, _page(name, media_type), include_in_schema=False)
    app.include_router(create_router(fleet), dependencies=[] if token is None else [Depends(_needs(token))])
    return app


def _needs(token: str) -> Callable[..., None]:
    def authorized(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
        if given is None or not hmac.compare_digest(given.credentials.encode(), token.encode()):
            raise HTTPException(401, "needs Authorization: Bearer with DEDUP_API_TOKEN", {"WWW-Authenticate": "Bearer"})

    return authorized


def _page(name: str, media_type: str) -> Callable[[], Response]:
    content = files("dedup_service.api").joinpath("dashboard", name).read_text()
    return lambda: Response(content, media_type=media_type, headers={"Content-Security-Policy": DASHBOARD_POLICY})


class ApiServer(uvicorn.Server):
    """Runs in the service's event loop; signals belong to the service. `tls`: None for HTTP."""

    def __init__(self, app: FastAPI, tls: ssl.SSLContext | None = None) -> None:
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2)
        config.load()
        config.ssl = tls
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
