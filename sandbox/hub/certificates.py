"""Certificates by which devices log in: X.509, self-signed or from an authority.

TLS has checked the chain of what arrives here; whose it is, is decided by its name and its thumbprint.
"""

from __future__ import annotations

import ssl
from asyncio import BaseTransport
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    common_name: str
    thumbprint: str
    """SHA-256, hexadecimal."""


def of_client(transport: BaseTransport) -> ClientCertificate | None:
    """The certificate that this connection's client has proven to own."""
    tls = transport.get_extra_info("ssl_object")
    encoded = tls.getpeercert(binary_form=True) if isinstance(tls, ssl.SSLObject) else None
    return None if encoded is None else _read(x509.load_der_x509_certificate(encoded))


def thumbprints(pem: bytes) -> frozenset[str]:
    """Those of all certificates in a PEM file. Raises ValueError."""
    return frozenset(_read(certificate).thumbprint for certificate in x509.load_pem_x509_certificates(pem))


def accept_clients(context: ssl.SSLContext) -> None:
    """Let clients show certificates. A certificate that `trust` was not told of, or an expired one, ends the handshake."""
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def trust(context: ssl.SSLContext, pem: bytes) -> None:
    """Accept these certificates from clients, and those that they have signed."""
    context.load_verify_locations(cadata=pem.decode())


def _read(certificate: x509.Certificate) -> ClientCertificate:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return ClientCertificate(str(names[0].value) if names else "", certificate.fingerprint(SHA256()).hex())
