"""How an OPC UA client identifies itself, and which server it trusts."""

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
    """Settings of a secure channel. The files may be renewed at any time; see `contents`."""

    policy: str
    """A policy name such as `Basic256Sha256`."""
    mode: str
    """`Sign` or `SignAndEncrypt`."""
    certificate: Path
    """This client's certificate."""
    private_key: Path
    server_certificate: Path
    """The only server certificate that is trusted."""

    def contents(self) -> tuple[bytes, bytes, bytes]:
        """The current contents of the three files. Raises OSError."""
        return self.certificate.read_bytes(), self.private_key.read_bytes(), self.server_certificate.read_bytes()

    def check(self) -> None:
        """Raises ValueError, which names the field and the file, if one can't be used."""
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

    def describe(self) -> list[str]:
        """The certificates, and until when they are valid. Raises OSError and ValueError."""
        files = (("own certificate", self.certificate), ("server certificate", self.server_certificate))
        return [
            f"{name} {path} is valid until {read_certificate(path.read_bytes()).not_valid_after_utc:%Y-%m-%d}"
            for name, path in files
        ]

    async def secure(self, client: Client) -> None:
        """Set the client's security before it connects. Raises ValueError if a file can't be used."""
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
        raise ValueError("it is not a certificate in PEM or DER") from None


def check_certificate(content: bytes) -> None:
    """Raises ValueError."""
    is_rsa = isinstance(read_certificate(content).public_key(), RSAPublicKey)
    if not is_rsa:
        raise ValueError("its key is not RSA, which the security policies need")


def check_own_certificate(content: bytes) -> None:
    """Raises ValueError."""
    check_certificate(content)
    certificate, now = read_certificate(content), datetime.now(UTC)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise ValueError(f"it is valid only from {certificate.not_valid_before_utc} until {certificate.not_valid_after_utc}")


def check_key(content: bytes) -> None:
    """Raises ValueError."""
    try:
        key = load_pem_private_key(content, None) if PEM in content else load_der_private_key(content, None)
    except TypeError:
        raise ValueError("it is encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("it is not a private key in PEM or DER") from None
    is_rsa = isinstance(key, RSAPrivateKey)
    if not is_rsa:
        raise ValueError("it is not RSA, which the security policies need")


def application_uri(certificate: Certificate) -> str | None:
    """URI of the application that it was issued for; servers refuse a client that states another. (OPC 10000-6, 6.2.2)"""
    for extension in certificate.extensions:
        if isinstance(extension.value, SubjectAlternativeName):
            return next(iter(extension.value.get_values_for_type(UniformResourceIdentifier)), None)
    return None
