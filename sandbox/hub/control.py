"""The control API: what an owner of the hubs does in Azure's portal, for tests in any language.

JSON over HTTP without authentication, so it listens on the stand-in's own address only. docs/sandbox.md lists the requests.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Protocol

from sandbox.hub.certificates import thumbprints
from sandbox.hub.http import HttpError, HttpRequest
from sandbox.hub.mqtt_face.face import NotOnlineError
from sandbox.hub.mqtt_face.session import QueueFullError
from sandbox.hub.namespace import Namespace
from sandbox.hub.twins import TwinError


class Owner(Protocol):
    """What the stand-in offers to its owner."""

    namespace: Namespace

    def describe(self) -> dict[str, Any]: ...
    def create_hub(self, name: str, partition_count: int, consumer_groups: list[str]) -> None: ...
    def remove_hub(self, name: str) -> None: ...
    def connection_string(self, hub: str) -> str: ...
    def fail_over(self) -> str: ...
    def create_device(self, path: str) -> None: ...
    def create_x509_device(self, path: str, pem: bytes | None) -> None: ...
    def enroll(self, registration: str, pem: bytes | None) -> str | None: ...
    def remove_device(self, path: str) -> None: ...
    def device_connection_string(self, path: str) -> str: ...
    def twin(self, path: str) -> dict[str, Any]: ...
    def desire(self, path: str, changes: dict[str, Any]) -> None: ...
    def send_to_device(self, path: str, body: bytes, properties: dict[str, str]) -> None: ...
    async def call_method(self, path: str, method: str, payload: Any) -> tuple[int, Any]: ...


MAX_PARTITIONS = 32


class Control:
    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    async def handle(self, request: HttpRequest) -> Any:
        match request.method, request.path:
            case "GET", ():
                return self._owner.describe()
            case "PUT", ("hubs", name):
                return self._create_hub(name, _body(request))
            case "DELETE", ("hubs", name):
                return _or_404(lambda: self._owner.remove_hub(name))
            case "PUT", ("enrollments", name):
                return {"key": self._owner.enroll(name, _certificate(_body(request)))}
            case "POST", ("failover",):
                return {"connection_string": self._owner.connection_string(self._owner.fail_over())}
            case method, ("devices", device, "modules", module, *rest):
                return await self._device(method, f"{device}/{module}", rest, request)
            case method, ("devices", device, *rest):
                return await self._device(method, device, rest, request)
        raise _unknown(request)

    def _create_hub(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        count, groups = body.get("partitions", 4), body.get("consumer_groups", [])
        if not isinstance(count, int) or not 1 <= count <= MAX_PARTITIONS:
            raise HttpError(HTTPStatus.BAD_REQUEST, f"`partitions` must be 1 to {MAX_PARTITIONS}")
        if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
            raise HttpError(HTTPStatus.BAD_REQUEST, "`consumer_groups` must be a list of names")
        self._owner.create_hub(name, count, groups)
        return {"connection_string": self._owner.connection_string(name)}

    async def _device(self, method: str, path: str, rest: list[str], request: HttpRequest) -> Any:
        if method == "PUT" and not rest:
            self._create_device(path, _certificate(_body(request)))
            return {"connection_string": self._owner.device_connection_string(path)}
        if path not in self._owner.namespace.devices:
            raise HttpError(HTTPStatus.NOT_FOUND, f"there is no device {path!r}")
        match method, rest:
            case "DELETE", []:
                return _or_404(lambda: self._owner.remove_device(path))
            case "GET", ["twin"]:
                return self._owner.twin(path)
            case "PATCH", ["twin"]:
                return self._desire(path, _body(request))
            case "POST", ["messages"]:
                return self._send(path, _body(request))
            case "POST", ["methods", name]:
                return await self._call(path, name, request.body)
        raise _unknown(request)

    def _create_device(self, path: str, certificate: bytes | None) -> None:
        if certificate is None:
            self._owner.create_device(path)
        else:
            self._owner.create_x509_device(path, certificate)

    def _desire(self, path: str, changes: dict[str, Any]) -> Any:
        try:
            self._owner.desire(path, changes)
        except TwinError as error:
            raise HttpError(HTTPStatus.BAD_REQUEST, str(error)) from None
        return self._owner.twin(path)

    def _send(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        text, properties = body.get("body", ""), body.get("properties", {})
        if not isinstance(text, str) or not isinstance(properties, dict):
            raise HttpError(HTTPStatus.BAD_REQUEST, "`body` must be a text, and `properties` an object")
        try:
            self._owner.send_to_device(path, text.encode(), {str(key): str(value) for key, value in properties.items()})
        except QueueFullError as error:
            raise HttpError(HTTPStatus.FORBIDDEN, str(error)) from None
        return {}

    async def _call(self, path: str, name: str, payload: Any) -> dict[str, Any]:
        try:
            status, answer = await self._owner.call_method(path, name, payload)
        except NotOnlineError as error:
            raise HttpError(HTTPStatus.NOT_FOUND, str(error)) from None
        except TimeoutError:
            raise HttpError(HTTPStatus.GATEWAY_TIMEOUT, f"{path} did not answer {name!r} in time") from None
        return {"status": status, "payload": answer}


def _unknown(request: HttpRequest) -> HttpError:
    return HttpError(HTTPStatus.NOT_FOUND, f"there is no {request.method} /{'/'.join(request.path)}")


def _body(request: HttpRequest) -> dict[str, Any]:
    if request.body is None:
        return {}
    if not isinstance(request.body, dict):
        raise HttpError(HTTPStatus.BAD_REQUEST, "the body must be a JSON object")
    return request.body


def _certificate(body: dict[str, Any]) -> bytes | None:
    if (given := body.get("certificate")) is None:
        return None
    try:
        thumbprints(str(given).encode())
    except ValueError as error:
        raise HttpError(HTTPStatus.BAD_REQUEST, f"`certificate` is no certificate in PEM ({error})") from None
    return str(given).encode()


def _or_404(action: Callable[[], Any]) -> Any:
    try:
        return action() or {}
    except LookupError as error:
        raise HttpError(HTTPStatus.NOT_FOUND, str(error.args[0])) from None
