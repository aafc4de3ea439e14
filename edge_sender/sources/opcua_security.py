"""Who an OPC UA client is to the server, and which server it will talk to."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from asyncua import Client, ua
from asyncua.crypto import security_policies, uacrypto
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key
from cryptography.x509 import (
    Certificate,
    SubjectAlternativeName,
    UniformResourceIdentifier,
    load_der_x509_certificate,
    load_pem_x509_certificate,
)

PEM = b"-----BEGIN"


@dataclass(frozen=True, slots=True)
class Channel:
    """A secure channel. Its files may be renewed at any time: see `contents`."""

    policy: str
    """`Basic256Sha256` and its like."""
    mode: str
    """`Sign` or `SignAndEncrypt`."""
    certificate: Path
    """Of this client."""
    private_key: Path
    server_certificate: Path
    """The only one that is trusted."""

    def contents(self) -> tuple[bytes, bytes, bytes]:
        """Of the files, as they are now. Raises OSError."""
        return self.certificate.read_bytes(), self.private_key.read_bytes(), self.server_certificate.read_bytes()

    def check(self) -> None:
        """Raises ValueError, which names the field and the file that can't be used."""
        checks = (
            ("certificate", self.certificate, check_own_certificate),
            ("private_key", self.private_key, check_key),
            ("server_certificate", self.server_certificate, check_certificate),
        )
        for name, path, check_content in checks:
            try:
                check_content(path.read_bytes())
            except OSError as error:
                raise ValueError(f"{path} can't be used as {name}: {error.strerror}") from None
            except ValueError as error:
                raise ValueError(f"{path} can't be used as {name}: {error}") from None

    async def secure(self, client: Client) -> None:
        """Before it connects. Raises ValueError where a file can't be used."""
        self.check()
        own, key, server = self.contents()
        if uri := application_uri(read_certificate(own)):
            client.application_uri = uri
        await client.set_security(
            getattr(security_policies, f"SecurityPolicy{self.policy}"),
            _encoded(own),
            _encoded(key),
            server_certificate=_encoded(server),
            mode=getattr(ua.MessageSecurityMode, self.mode),
        )


@dataclass(frozen=True, slots=True)
class User:
    name: str
    password: str = field(repr=False)


def _encoded(content: bytes) -> uacrypto.CertProperties:
    return uacrypto.CertProperties(content, "pem" if PEM in content else "der")


def read_certificate(content: bytes) -> Certificate:
    """PEM or DER. Raises ValueError."""
    try:
        return load_pem_x509_certificate(content) if PEM in content else load_der_x509_certificate(content)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("it is no certificate in PEM or DER") from None


def check_certificate(content: bytes) -> None:
    """Raises ValueError."""
    is_rsa = isinstance(read_certificate(content).public_key(), RSAPublicKey)
    if not is_rsa:
        raise ValueError("its key is not RSA, which the security policies need")


def check_own_certificate(content: bytes) -> None:
    """Raises ValueError."""
    check_certificate(content)
    found, now = read_certificate(content), datetime.now(UTC)
    if not found.not_valid_before_utc <= now <= found.not_valid_after_utc:
        raise ValueError(f"it is valid from {found.not_valid_before_utc} until {found.not_valid_after_utc} only")


def check_key(content: bytes) -> None:
    """Raises ValueError."""
    try:
        key = load_pem_private_key(content, None) if PEM in content else load_der_private_key(content, None)
    except TypeError:
        raise ValueError("it is encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("it is no private key in PEM or DER") from None
    is_rsa = isinstance(key, RSAPrivateKey)
    if not is_rsa:
        raise ValueError("it is not RSA, which the security policies need")


def application_uri(certificate: Certificate) -> str | None:
    """The application that it was made for: servers refuse a client that calls itself otherwise. (OPC 10000-6, 6.2.2)"""
    for extension in certificate.extensions:
        if isinstance(extension.value, SubjectAlternativeName):
            return next(iter(extension.value.get_values_for_type(UniformResourceIdentifier)), None)
    return None
