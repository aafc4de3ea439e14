"""The workload API of the IoT Edge runtime, as far as a module needs it to connect: its trust bundle and its signatures.

Source: https://github.com/Azure/iotedge/blob/main/edgelet/api/workload.yaml (trust-bundle, sign).
"""

from __future__ import annotations

import base64
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def workload_api(module: str, generation: str, key: str, ca_pem: str, port: int = 0) -> Iterator[str]:
    """Yields the address for IOTEDGE_WORKLOADURI. Runs on its own thread, because the SDK blocks its caller meanwhile."""

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({"certificate": ca_pem} if self.path.startswith("/trust-bundle?") else None)

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            expected = f"/modules/{module}/genid/{generation}/sign?"
            if not self.path.startswith(expected) or asked["algo"] != "HMACSHA256":
                self._answer(None)
                return
            digest = hmac.digest(base64.b64decode(key), base64.b64decode(asked["data"]), "sha256")
            self._answer({"digest": base64.b64encode(digest).decode()})

        def _answer(self, content: dict[str, str] | None) -> None:
            body = json.dumps(content or {}).encode()
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", port), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
