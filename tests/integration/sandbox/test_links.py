"""The link that chaos and drill put between a process and its hub: open, cut like a cable, or refused like by a firewall."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from sandbox.peers.links import Link

TIMEOUT_SECONDS = 60.0
A_MOMENT_SECONDS = 0.1


@dataclass
class Far:
    """The far end: it keeps what it receives, and can answer."""

    received: bytearray = field(default_factory=bytearray)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    hung_up: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while data := await reader.read(1024):
                self.received += data
        except ConnectionError:
            pass
        self.hung_up += 1
        writer.transport.abort()

    async def until(self, received: bytes) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while bytes(self.received) != received:
                await asyncio.sleep(0.005)


@pytest.fixture
async def far_and_link() -> AsyncIterator[tuple[Far, Link]]:
    far = Far()
    server = await asyncio.start_server(far.serve, "127.0.0.1", 0)
    link = await Link(*server.sockets[0].getsockname()[:2]).start()
    yield far, link
    await link.stop()
    server.close()


async def connected(link: Link) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(link.host, link.port)


async def ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(1), TIMEOUT_SECONDS) == b""
    except ConnectionError:
        return True


async def test_a_cut_link_passes_nothing_and_what_was_sent_arrives_when_it_is_mended(far_and_link: tuple[Far, Link]) -> None:
    far, link = far_and_link
    reader, writer = await connected(link)
    writer.write(b"one ")
    await far.until(b"one ")
    link.cut()
    writer.write(b"two ")
    far.writers[0].write(b"answer")
    await connected(link)  # a cut link accepts, too
    await asyncio.sleep(A_MOMENT_SECONDS)
    assert (bytes(far.received), len(far.writers)) == (b"one ", 1)
    link.mend()
    await far.until(b"one two ")
    assert await asyncio.wait_for(reader.read(6), TIMEOUT_SECONDS) == b"answer"


async def test_neither_end_of_a_cut_link_notices_that_the_other_has_hung_up(far_and_link: tuple[Far, Link]) -> None:
    far, link = far_and_link
    _, writer = await connected(link)
    writer.write(b"x")
    await far.until(b"x")
    link.cut()
    writer.transport.abort()
    await asyncio.sleep(A_MOMENT_SECONDS)
    assert far.hung_up == 0
    link.mend()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not far.hung_up:
            await asyncio.sleep(0.005)


async def test_a_link_that_refuses_ends_every_connection_until_it_is_mended(far_and_link: tuple[Far, Link]) -> None:
    far, link = far_and_link
    reader, writer = await connected(link)
    writer.write(b"x")
    await far.until(b"x")
    link.refuse()
    assert await ended(reader)
    assert await ended((await connected(link))[0])
    assert len(far.writers) == 1
    link.mend()
    _, writer = await connected(link)
    writer.write(b"y")
    await far.until(b"xy")


async def test_a_link_that_leads_elsewhere_ends_every_connection_and_keeps_its_address(
    far_and_link: tuple[Far, Link],
) -> None:
    far, link = far_and_link
    other = Far()
    server = await asyncio.start_server(other.serve, "127.0.0.1", 0)
    reader, writer = await connected(link)
    writer.write(b"x")
    await far.until(b"x")
    link.lead_to(*server.sockets[0].getsockname()[:2])
    assert await ended(reader)
    _, writer = await connected(link)
    writer.write(b"y")
    await other.until(b"y")
    assert bytes(far.received) == b"x"
    server.close()
