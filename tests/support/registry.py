"""A package registry whose authority nobody knows, as behind a company's proxy: one package for npm, one for pip."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import ssl
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

NPM_PACKAGE, PIP_PACKAGE = "tiny-npm-package", "tiny-pip-package"
WHEEL = "tiny_pip_package-1.0-py3-none-any.whl"


def npm_tarball() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        content = json.dumps({"name": NPM_PACKAGE, "version": "1.0.0"}).encode()
        entry = tarfile.TarInfo("package/package.json")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def wheel() -> bytes:
    info = "tiny_pip_package-1.0.dist-info"
    files = {
        "tiny_pip_package.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {PIP_PACKAGE}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@dataclass
class Registry:
    port: int
    ca_file: Path
    connections: list[Any] = field(default_factory=list)
    """Addresses of all clients that connected, whether they trusted the certificate or not."""
    tarball: bytes = field(default_factory=npm_tarball)
    wheel: bytes = field(default_factory=wheel)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def answer(self, path: str) -> bytes | None:
        integrity = self.integrity
        tarball = f"/{NPM_PACKAGE}.tgz"
        version = {"name": NPM_PACKAGE, "version": "1.0.0", "dist": {"tarball": self.url + tarball, "integrity": integrity}}
        packument = {"name": NPM_PACKAGE, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
        return {
            f"/{NPM_PACKAGE}": json.dumps(packument).encode(),
            tarball: self.tarball,
            f"/simple/{PIP_PACKAGE}/": f'<!doctype html><a href="/{WHEEL}">{WHEEL}</a>'.encode(),
            f"/{WHEEL}": self.wheel,
        }.get(path)

    @property
    def integrity(self) -> str:
        return "sha512-" + base64.b64encode(hashlib.sha512(self.tarball).digest()).decode()

    def npm_project(self, folder: Path) -> Path:
        """A folder with a package.json and its lock, which names the package and its hash, as this repository's do."""
        folder.mkdir()
        wanted = {"name": "project", "version": "1.0.0", "dependencies": {NPM_PACKAGE: "1.0.0"}}
        locked = {"version": "1.0.0", "integrity": self.integrity}
        packages = {"": wanted, f"node_modules/{NPM_PACKAGE}": locked}
        lock = {"name": "project", "version": "1.0.0", "lockfileVersion": 3, "requires": True, "packages": packages}
        (folder / "package.json").write_text(json.dumps(wanted))
        (folder / "package-lock.json").write_text(json.dumps(lock))
        return folder

    def pip_requirement(self) -> str:
        return f"{PIP_PACKAGE}==1.0 --hash=sha256:{hashlib.sha256(self.wheel).hexdigest()}\n"


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[Registry]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    class Server(ThreadingHTTPServer):
        def process_request_thread(self, request: Any, client_address: Any) -> None:
            served.connections.append(client_address)
            with contextlib.suppress(OSError):  # whoever does not know the authority hangs up
                super().process_request_thread(context.wrap_socket(request, server_side=True), client_address)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = served.answer(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/json")
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: Any) -> None:
            """Says nothing; what was asked is in the answers."""

    server = Server(("127.0.0.1", 0), Handler)
    served = Registry(server.server_port, folder / "authority.pem")
    served.ca_file.write_bytes(authority.cert_pem.bytes())
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
