"""A token endpoint like Entra ID's: it exchanges a pod's service account token for signed access tokens."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import jwt
from aiohttp import web

from sandbox.hub.sas import SasError

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "66666666-7777-8888-9999-000000000000"
PRINCIPAL = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
"""The identity's object id, which Redis uses as the user name."""
SERVICE_ACCOUNT_TOKEN = "the-service-account-token-of-the-pod"
LIFE_SECONDS = 3600
EVENT_HUBS = "https://eventhubs.azure.net/"
"""The audience of tokens for Event Hubs; the SDK requests it with the trailing slash."""


@dataclass
class TokenEndpoint:
    key: str = "a signing key that is long enough for HMAC"
    life_seconds: float = LIFE_SECONDS
    port: int = 0
    issued: list[str] = field(default_factory=list)
    """The audiences of the tokens, one for each request."""
    tokens: dict[str, str] = field(default_factory=dict)
    """Audience → the token that every request for it gets."""

    def token(self, audience: str) -> str:
        if audience not in self.tokens:
            self.tokens[audience] = self._sign(audience)
        return self.tokens[audience]

    def _sign(self, audience: str) -> str:
        now = int(time.time())
        claims = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{TENANT}/",
            "oid": PRINCIPAL,
            "iat": now,
            "nbf": now - 60,
            "exp": now + self.life_seconds,
        }
        return jwt.encode(claims, self.key, algorithm="HS256")

    def check(self, token: str) -> float:
        """Expiry of a token for Event Hubs, in Unix seconds. Raises SasError."""
        try:
            claims = jwt.decode(token, self.key, algorithms=["HS256"], audience=EVENT_HUBS)
        except jwt.InvalidTokenError as error:
            raise SasError(f"the token is not accepted: {error}") from None
        return float(claims["exp"])

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if request.match_info["tenant"] != TENANT or form.get("client_id") != CLIENT:
            return web.json_response({"error": "unauthorized_client", "error_description": "no such client"}, status=400)
        if form.get("client_assertion") != SERVICE_ACCOUNT_TOKEN:
            return web.json_response({"error": "invalid_client", "error_description": "wrong assertion"}, status=401)
        audience = str(form["scope"]).removesuffix("/.default")
        self.issued.append(audience)
        answer = {"token_type": "Bearer", "expires_in": self.life_seconds, "access_token": self.token(audience)}
        return web.json_response(answer)


@asynccontextmanager
async def token_endpoint(tls: ssl.SSLContext) -> AsyncIterator[TokenEndpoint]:
    endpoint = TokenEndpoint()
    app = web.Application()
    app.router.add_post("/{tenant}/oauth2/v2.0/token", endpoint._token)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    endpoint.port = runner.addresses[0][1]
    try:
        yield endpoint
    finally:
        await runner.cleanup()
