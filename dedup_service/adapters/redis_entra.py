"""Redis by Entra ID: the token is the password, and is renewed on live connections before it expires."""

from __future__ import annotations

from typing import Any

from redis.auth.token_manager import RetryPolicy, TokenManagerConfig
from redis.credentials import CredentialProvider

SCOPE = "https://redis.azure.com/.default"
REFRESH_RATIO = 0.7
"""Of a token's life."""
REQUEST_TIMEOUT_MS = 10_000
"""The library's own 100 ms is less than a first request to Entra ID takes."""
ATTEMPTS = 3
ATTEMPT_DELAY_MS = 1000


def entra_credentials(http_options: dict[str, Any]) -> CredentialProvider:
    from redis_entraid.cred_provider import create_from_default_azure_credential

    retries = RetryPolicy(ATTEMPTS, ATTEMPT_DELAY_MS)
    config = TokenManagerConfig(REFRESH_RATIO, 0, REQUEST_TIMEOUT_MS, retries)
    provider: CredentialProvider = create_from_default_azure_credential(
        (SCOPE,), app_kwargs=http_options, token_manager_config=config
    )
    return provider
