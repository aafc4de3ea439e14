"""The witness: a lease on a blob (Azurite), held by one replica at a time."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import pytest
from azure.storage.blob import ContainerClient, ContainerSasPermissions, generate_container_sas

from edge_sender.ports import LeaseHeldError, LeaseState, WitnessAwayError
from edge_sender.witnesses.blob import BlobWitness
from sandbox.peers.processes import free_port

LEASE_SECONDS = 15


class Witnesses:
    """Makes the witnesses of several replicas, all on one blob in a container that does not exist yet."""

    def __init__(self, storage: str) -> None:
        self.setting = f"{storage};ContainerName=w{uuid.uuid4().hex[:8]}"
        self.made: list[BlobWitness] = []

    def of(self, replica: str) -> BlobWitness:
        witness = BlobWitness.from_setting(self.setting, "line-1", replica, lease_seconds=LEASE_SECONDS, timeout_seconds=5)
        self.made.append(witness)
        return witness


@pytest.fixture
async def witnesses(azurite: str) -> AsyncIterator[Witnesses]:
    factory = Witnesses(azurite)
    yield factory
    for witness in factory.made:
        await witness.close()


async def test_one_replica_holds_the_lease(witnesses: Witnesses) -> None:
    one, two = witnesses.of("a"), witnesses.of("b")
    await one.acquire()
    with pytest.raises(LeaseHeldError):
        await two.acquire()
    await one.renew()
    await one.release()
    await two.acquire()
    with pytest.raises(LeaseHeldError):
        await one.renew()


async def test_it_reports_the_state_of_the_lease(witnesses: Witnesses) -> None:
    one, two = witnesses.of("a"), witnesses.of("b")
    assert await two.state() is LeaseState.RELEASED
    await one.acquire()
    assert await two.state() is LeaseState.HELD
    await one.release()
    assert await two.state() is LeaseState.RELEASED


async def test_a_replica_that_restarts_under_the_same_name_still_has_the_lease(witnesses: Witnesses) -> None:
    await witnesses.of("a").acquire()
    again = witnesses.of("a")
    await again.acquire()
    await again.renew()


async def test_a_lease_that_is_not_renewed_expires(witnesses: Witnesses) -> None:
    one, two = witnesses.of("a"), witnesses.of("b")
    await one.acquire()
    async with asyncio.timeout(LEASE_SECONDS * 3):
        while await two.state() is LeaseState.HELD:
            await asyncio.sleep(0.5)
    assert await two.state() is LeaseState.EXPIRED
    await two.acquire()
    with pytest.raises(LeaseHeldError):
        await one.renew()


async def test_releasing_a_lease_that_is_not_held_is_not_an_error(witnesses: Witnesses) -> None:
    one, two = witnesses.of("a"), witnesses.of("b")
    await one.acquire()
    await two.release()
    await one.renew()


async def test_exactly_one_of_several_simultaneous_first_acquires_succeeds(witnesses: Witnesses) -> None:
    results = await asyncio.gather(*(witnesses.of(name).acquire() for name in "abcd"), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["LeaseHeldError"] * 3 + ["NoneType"]


async def test_a_witness_that_does_not_answer_is_away() -> None:
    setting = f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=aaaa;BlobEndpoint=http://127.0.0.1:{free_port()}/a;ContainerName=w"
    witness = BlobWitness.from_setting(setting, "line-1", "a", lease_seconds=LEASE_SECONDS, timeout_seconds=1)
    with pytest.raises(WitnessAwayError):
        await witness.acquire()
    with pytest.raises(WitnessAwayError):
        await witness.release()


ANSWERS = {
    "not-found": b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
    "a-login-page": b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: 3\r\n\r\n<x>",
    "not-http": b"x",
}


@pytest.mark.parametrize("answer", ANSWERS)
async def test_any_other_server_in_place_of_the_witness_causes_only_the_errors_of_a_witness(answer: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(ANSWERS[answer])
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a"
    setting = f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=aaaa;BlobEndpoint={address};ContainerName=wit"
    witness = BlobWitness.from_setting(setting, "line-1", "a", lease_seconds=LEASE_SECONDS, timeout_seconds=2)
    for call in (witness.acquire, witness.renew, witness.state, witness.release):
        with contextlib.suppress(LeaseHeldError, WitnessAwayError):  # nothing else may be raised
            await call()
    server.close()


def test_a_setting_without_a_container_is_refused() -> None:
    with pytest.raises(ValueError, match="ContainerName"):
        BlobWitness.from_setting("AccountName=a;AccountKey=b", "line-1", "a", lease_seconds=15, timeout_seconds=1)


async def test_who_is_overtaken_while_making_the_blob_needs_no_right_to_make_containers(azurite: str) -> None:
    """A signature for a container does not include that right."""
    name = f"w{uuid.uuid4().hex[:8]}"
    other = ContainerClient.from_connection_string(azurite, name)
    other.create_container()
    fields = dict(part.split("=", 1) for part in azurite.split(";") if part)
    signature = generate_container_sas(
        fields["AccountName"],
        name,
        account_key=fields["AccountKey"],
        permission=ContainerSasPermissions(read=True, write=True, create=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    overtaken = []

    def overtake(response: Any) -> None:
        """Another replica makes the blob as soon as this one has learnt that there is none."""
        if response.http_response.status_code == HTTPStatus.NOT_FOUND:
            overtaken.append(other.upload_blob("line-1", b""))

    container = ContainerClient.from_container_url(f"{other.url}?{signature}", raw_response_hook=overtake, retry_total=0)
    witness = BlobWitness(container, "line-1", "a", lease_seconds=LEASE_SECONDS)
    await witness.acquire()
    assert len(overtaken) == 1
    assert await witness.state() is LeaseState.HELD
    await witness.close()
    other.close()
