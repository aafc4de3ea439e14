"""Prints the file of the system's certificate authorities for a pip that knows only its own list, for the Makefile.

A company's network may have an authority of its own, in the system's trust store. pip looks there by itself from 24.2 on;
an older one, such as Python 3.11 brings along, has to be told (`PIP_CERT`). Prints nothing where that is needless, where
pip's own configuration names a file already, or where there is no such file. Uses Python's standard library alone, because
nothing is installed yet.
"""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

TRUSTS_THE_SYSTEM = (24, 2)
BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")
"""Where Debian, Fedora and SUSE keep them, for a Python that was built elsewhere."""


def bundle() -> str:
    """The system's list, or the one that SSL_CERT_FILE names; empty where there is none."""
    candidates = (ssl.get_default_verify_paths().cafile, *BUNDLES)
    return next((path for path in candidates if path and Path(path).is_file()), "")


def is_told() -> bool:
    """Whether pip's configuration files name a list of authorities."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    return any(line.partition("=")[0].endswith(".cert") for line in listed.splitlines())


def pip_cert() -> str:
    if (given := os.environ.get("PIP_CERT")) is not None:
        return given
    pip = tuple(int(part) for part in version("pip").split(".")[:2])
    return "" if pip >= TRUSTS_THE_SYSTEM or is_told() else bundle()


if __name__ == "__main__":
    print(pip_cert())
