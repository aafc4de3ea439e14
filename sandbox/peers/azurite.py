"""Runs Azurite, Microsoft's emulator of Azure Storage, on a Node.js that is installed as a Python package.

Only in a checkout, for the drill, the benchmarks and the tests: `tests/node` names Azurite's package and its hash.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from sandbox.peers.node import NODE, NODE_FOLDER, install_node_packages
from sandbox.peers.processes import ProcessError, free_port

START_SECONDS = 60.0

AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The well-known key of every Azurite; not a secret."""


def storage_connection_string(address: str) -> str:
    scheme = address.partition(":")[0]
    return (
        f"DefaultEndpointsProtocol={scheme};AccountName=devstoreaccount1;AccountKey={AZURITE_KEY};"
        f"BlobEndpoint={address}/devstoreaccount1"
    )


@contextlib.contextmanager
def azurite(certificate: tuple[Path, Path] | None = None) -> Iterator[str]:
    """Run a blob service; yields its storage connection string.

    With a certificate (and its key) it serves over TLS and also accepts tokens of Entra ID. Raises ProcessError, and
    NodePackagesError where Azurite can't be installed.
    """
    install_node_packages()
    port = free_port()
    main = NODE_FOLDER / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    options = ["--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--blobPort", str(port)]
    if certificate is not None:
        options += [
            "--cert",
            str(certificate[0]),
            "--key",
            str(certificate[1]),
            "--oauth",
            "basic",
            "--disableProductStyleUrl",
        ]
    scheme, host = ("http", "127.0.0.1") if certificate is None else ("https", "localhost")
    process = subprocess.Popen([str(NODE), str(main), *options], stdout=subprocess.DEVNULL)
    try:
        _wait_for_port(port)
        yield storage_connection_string(f"{scheme}://{host}:{port}")
    finally:
        process.kill()
        process.wait()


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise ProcessError(f"Azurite is not listening on port {port}") from None
            time.sleep(0.05)
