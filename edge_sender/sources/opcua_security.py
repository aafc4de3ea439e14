"""Who an OPC UA client is to the server, and which server it will talk to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from asyncua import Client, ua
from asyncua.crypto import security_policies, uacrypto
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key
from cryptography.x509 import (
    Certificate,
    ExtensionNotFound,
    SubjectAlternativeName,
    UniformResourceIdentifier,
    load_der_x509_certificate,
    load_pem_x509_certificate,
)

PEM = b"-----BEGIN"


@dataclass(frozen=True, slots=True)
class Channel:
    """A secure channel. The files are read at every connection, so that renewed ones are taken."""

    policy: str
    """`Basic256Sha256` and its like."""
    mode: str
    """`Sign` or `SignAndEncrypt`."""
    certificate: Path
    """Of this client."""
    private_key: Path
    server_certificate: Path
    """The only one that is trusted."""

    async def secure(self, client: Client) -> None:
        """Before it connects. Raises OSError or ValueError where a file can't be used."""
        own = self.certificate.read_bytes()
        if uri := application_uri(read_certificate(own)):
            client.application_uri = uri
        await client.set_security(
            getattr(security_policies, f"SecurityPolicy{self.policy}"),
            _encoded(own),
            _encoded(self.private_key.read_bytes()),
            server_certificate=_encoded(self.server_certificate.read_bytes()),
            mode=getattr(ua.MessageSecurityMode, self.mode),
        )


@dataclass(frozen=True, slots=True)
class User:
    name: str
    password: str = field(repr=False)


def _encoded(content: bytes) -> uacrypto.CertProperties:
    return uacrypto.CertProperties(content, "pem" if content.lstrip().startswith(PEM) else "der")


def read_certificate(content: bytes) -> Certificate:
    """PEM or DER. Raises ValueError."""
    if content.lstrip().startswith(PEM):
        return load_pem_x509_certificate(content)
    return load_der_x509_certificate(content)


def read_key(content: bytes) -> None:
    """Whether it can be read. Raises ValueError, or TypeError where it is encrypted."""
    if content.lstrip().startswith(PEM):
        load_pem_private_key(content, password=None)
    else:
        load_der_private_key(content, password=None)


def application_uri(certificate: Certificate) -> str | None:
    """The application that it was made for: servers refuse a client that calls itself otherwise. (OPC 10000-6, 6.2.2)"""
    try:
        names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        return None
    return next(iter(names.get_values_for_type(UniformResourceIdentifier)), None)
