"""Certificates of devices, self-signed or of an authority, in files as a gateway has them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class DeviceFiles:
    """A certificate and its key, which may be replaced."""

    certificate: Path
    private_key: Path

    @classmethod
    def in_folder(cls, folder: Path, name: str = "device") -> DeviceFiles:
        return cls(folder / f"{name}.pem", folder / f"{name}.key")

    @property
    def pem(self) -> bytes:
        return self.certificate.read_bytes()

    def self_signed(self, name: str) -> DeviceFiles:
        """For a device of this name."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        built = (
            x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        plain = serialization.NoEncryption()
        pem = serialization.Encoding.PEM
        encoded = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
        return self._written(built.public_bytes(pem), encoded)

    def signed(self, authority: trustme.CA, name: str) -> DeviceFiles:
        issued = authority.issue_cert(f"{name.replace('/', '.')}.plant.test", common_name=name)
        return self._written(b"".join(part.bytes() for part in issued.cert_chain_pems), issued.private_key_pem.bytes())

    def _written(self, certificate: bytes, key: bytes) -> DeviceFiles:
        """As those write them who renew certificates: each file is complete whenever it is read."""
        for path, content in ((self.private_key, key), (self.certificate, certificate)):
            fresh = path.with_suffix(".new")
            fresh.write_bytes(content)
            os.replace(fresh, path)
        return self
