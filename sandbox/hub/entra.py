"""Tokens of Entra ID: any JWT for Event Hubs whose signature a given key verifies."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sandbox.hub.sas import SasError

AUDIENCES = ("https://eventhubs.azure.net", "https://servicebus.azure.net")


class JwtKey:
    """Verifies RS256 by a public key (PEM), or HS256 by a secret. Raises ValueError where a PEM is not an RSA key."""

    def __init__(self, key: bytes) -> None:
        self._secret = key
        self._public: rsa.RSAPublicKey | None = None
        if key.startswith(b"-----BEGIN"):
            public = serialization.load_pem_public_key(key)
            if not isinstance(public, rsa.RSAPublicKey):
                raise ValueError("the key for Entra ID's tokens must be an RSA public key, or a secret")
            self._public = public

    def check(self, token: str) -> float:
        """The token's expiry (s since the epoch). Raises SasError."""
        parts = token.split(".")
        if len(parts) != 3:
            raise SasError("the token is not a JWT")
        signed, signature = f"{parts[0]}.{parts[1]}".encode(), _decoded(parts[2])
        algorithm = _object(parts[0]).get("alg")
        if algorithm != ("RS256" if self._public else "HS256") or not self._verifies(signed, signature):
            raise SasError("the signature of the JWT does not match the key that this stand-in was given")
        claims = _object(parts[1])
        if str(claims.get("aud", "")).rstrip("/") not in AUDIENCES:
            raise SasError("the JWT is for another audience than Event Hubs")
        expiry = claims.get("exp")
        if not isinstance(expiry, int | float) or expiry <= time.time():
            raise SasError("the JWT has expired")
        return float(expiry)

    def _verifies(self, signed: bytes, signature: bytes) -> bool:
        if self._public is None:
            return hmac.compare_digest(hmac.new(self._secret, signed, hashlib.sha256).digest(), signature)
        try:
            self._public.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


def _decoded(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise SasError("the JWT is not base64") from None


def _object(part: str) -> dict[str, Any]:
    try:
        value = json.loads(_decoded(part))
    except ValueError:
        raise SasError("the JWT is not JSON") from None
    if not isinstance(value, dict):
        raise SasError("the JWT is not a JSON object")
    return value
