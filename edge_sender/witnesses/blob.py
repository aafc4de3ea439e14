"""The witness in Azure: a lease of 15 to 60 seconds on a blob.

Source: https://learn.microsoft.com/rest/api/storageservices/lease-blob (states, and what each action does in each).
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import BlobClient, BlobLeaseClient, ContainerClient

from edge_sender.ports import LeaseHeldError, LeaseState, WitnessAwayError

HELD = {"LeaseAlreadyPresent", "LeaseIdMismatchWithLeaseOperation", "LeaseLost", "LeaseIsBreakingAndCannotBeAcquired"}
STATES = {"available": LeaseState.RELEASED, "expired": LeaseState.EXPIRED, "broken": LeaseState.EXPIRED}
_NAMESPACE = uuid.UUID("6b1f3a51-6f3c-5c55-9c0e-0d4b6fd3c7a1")

T = TypeVar("T")


class BlobWitness:
    """One blob for all replicas that take turns. It is created if it does not exist.

    The lease's id is derived from `holder`, so a process with the same holder already has the lease.
    """

    def __init__(self, container: ContainerClient, blob: str, holder: str, *, lease_seconds: float) -> None:
        self._container = container
        self._blob: BlobClient = container.get_blob_client(blob)
        self._lease_id = str(uuid.uuid5(_NAMESPACE, holder))
        self._seconds = round(lease_seconds)

    @classmethod
    def from_setting(
        cls,
        text: str,
        blob: str,
        holder: str,
        *,
        lease_seconds: float,
        timeout_seconds: float,
        network: Mapping[str, Any] | None = None,
    ) -> BlobWitness:
        """`text`: a container's URL with a signature, or a connection string with `ContainerName`. `network`: options of the
        SDK for proxies and authorities. Raises ValueError."""
        options: dict[str, Any] = {"retry_total": 0, "connection_timeout": timeout_seconds, "read_timeout": timeout_seconds}
        options |= network or {}
        if text.startswith(("https://", "http://")):
            container = ContainerClient.from_container_url(text, **options)
        else:
            string, name = _split(text)
            container = ContainerClient.from_connection_string(string, name, **options)
        return cls(container, blob, holder, lease_seconds=lease_seconds)

    async def acquire(self) -> None:
        try:
            await self._ask(self._acquire)
        except ResourceNotFoundError:
            await self._ask_what_exists(self._make_blob)
            await self._ask_what_exists(self._acquire)

    @property
    def _lease(self) -> BlobLeaseClient:
        """A new client for each call, because it forgets its id on release."""
        return BlobLeaseClient(self._blob, lease_id=self._lease_id)

    def _acquire(self) -> None:
        self._lease.acquire(lease_duration=self._seconds)

    def _make_blob(self) -> None:
        """Create the blob unless another replica was faster, and first the container if that does not exist. Only then: a
        signature for the container does not include the right to create it."""
        try:
            self._upload()
        except ResourceNotFoundError:
            with contextlib.suppress(ResourceExistsError):
                self._container.create_container()
            self._upload()

    def _upload(self) -> None:
        with contextlib.suppress(ResourceExistsError):
            self._blob.upload_blob(b"", overwrite=False)

    async def state(self) -> LeaseState:
        try:
            state = (await self._ask(self._blob.get_blob_properties)).lease.state
        except ResourceNotFoundError:
            return LeaseState.RELEASED
        return STATES.get(str(state), LeaseState.HELD)

    async def renew(self) -> None:
        try:
            await self._ask(lambda: self._lease.renew())
        except ResourceNotFoundError:
            raise LeaseHeldError("the witness's blob is gone") from None

    async def release(self) -> None:
        try:
            await self._ask(lambda: self._lease.release())
        except (LeaseHeldError, ResourceNotFoundError):
            return  # it was no longer ours

    async def close(self) -> None:
        await asyncio.to_thread(self._container.close)

    async def _ask(self, call: Callable[[], T]) -> T:
        """Raises LeaseHeldError, WitnessAwayError; ResourceNotFoundError if the blob does not exist."""
        try:
            return await asyncio.to_thread(call)
        except ResourceNotFoundError:
            raise
        except HttpResponseError as error:
            if getattr(error, "error_code", None) in HELD:
                raise LeaseHeldError from None
            raise WitnessAwayError(f"EDGE_WITNESS answered {error.status_code} {error.reason}") from None
        except Exception as error:  # noqa: BLE001  # whatever answers in place of a blob store
            raise WitnessAwayError(f"EDGE_WITNESS did not answer properly: {type(error).__name__}") from None

    async def _ask_what_exists(self, call: Callable[[], None]) -> None:
        """Raises LeaseHeldError, WitnessAwayError."""
        try:
            await self._ask(call)
        except ResourceNotFoundError:
            raise WitnessAwayError("EDGE_WITNESS names a container that does not exist and can't be created") from None


def _split(connection_string: str) -> tuple[str, str]:
    parts = [part for part in connection_string.split(";") if part]
    names = [part.partition("=")[2] for part in parts if part.lower().startswith("containername=")]
    if not names or not names[0]:
        raise ValueError("has no ContainerName")
    return ";".join(part for part in parts if not part.lower().startswith("containername=")), names[0]
