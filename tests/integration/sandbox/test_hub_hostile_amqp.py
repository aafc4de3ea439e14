"""The stand-in's AMQP face against clients that break the protocol: they get an error, other clients notice nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from sandbox.amqp import performatives as amqp
from sandbox.amqp.codec import NULL, Described, Symbol, Uint, described, encode
from sandbox.amqp.messages import APPLICATION_PROPERTIES, BareMessage, data_section
from sandbox.hub import sas
from sandbox.hub.amqp_face import connection
from sandbox.hub.log import now_ms
from sandbox.hub.namespace import POLICY
from sandbox.hub.stand_in import StandIn
from tests.support import hub

HANDSHAKE = (
    amqp.SASL_HEADER + amqp.frame(0, described(amqp.SASL_INIT, [encode(Symbol("ANONYMOUS"))]), 1) + amqp.PROTOCOL_HEADER
)
OPEN = amqp.frame(0, described(amqp.OPEN, [encode("c"), NULL, encode(Uint(65536))]))
BEGIN = amqp.frame(0, described(amqp.BEGIN, [NULL, encode(Uint(0)), encode(Uint(2**31 - 1)), encode(Uint(2**31 - 1))]))
TIMEOUT_SECONDS = 60.0


class Peer:
    """A client that writes whatever bytes a test wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._buffer = bytearray()

    def write(self, *data: bytes) -> None:
        self._writer.write(b"".join(data))

    async def handshake(self) -> None:
        self.write(HANDSHAKE, OPEN, BEGIN)
        assert await self._read(8) == amqp.SASL_HEADER
        await self.next(amqp.SASL_MECHANISMS)
        await self.next(amqp.SASL_OUTCOME)
        assert await self._read(8) == amqp.PROTOCOL_HEADER
        await self.next(amqp.OPEN)
        await self.next(amqp.BEGIN)

    async def _read(self, count: int) -> bytes:
        return await asyncio.wait_for(self._reader.readexactly(count), TIMEOUT_SECONDS)

    async def next(self, code: int) -> list[object]:
        """The fields of the next performative of this kind."""
        while True:
            size = int.from_bytes(await self._read(4), "big")
            body = await self._read(size - 4)
            if size > 8:
                received, fields, _ = amqp.parse(body[4:])
                if received == code:
                    return fields

    async def put_token(self, stand_in: StandIn) -> None:
        uri = f"sb://127.0.0.1:{stand_in.amqp_port}/telemetry"
        token = sas.generate(uri, stand_in.namespace.key.encode(), 4_000_000_000, POLICY)
        self.write(attach("$cbs", 0, amqp.SENDER), attach("$cbs", 1, amqp.RECEIVER), flow(1, 10))
        request = described(0x73, [encode("id-1")]) + described_map({"name": uri, "operation": "put-token"})
        self.write(transfer(0, 0, request + b"\x00\x53\x77" + encode(token)))
        await self.next(amqp.TRANSFER)

    async def error(self, code: int, index: int) -> str:
        fields = await self.next(code)
        error = fields[index]
        assert isinstance(error, Described)
        return str(error.value[0])

    async def hung_up(self) -> None:
        with contextlib.suppress(ConnectionError):
            while await asyncio.wait_for(self._reader.read(65536), TIMEOUT_SECONDS):
                continue

    def abort(self) -> None:
        self._writer.transport.abort()


def described_map(properties: dict[str, object]) -> bytes:
    return b"\x00\x53" + bytes([APPLICATION_PROPERTIES]) + encode(properties)


def attach(address: str, handle: int, role: bool) -> bytes:
    source, target = (address, "x") if role == amqp.RECEIVER else ("x", address)
    return amqp.attach(
        0,
        name=f"l{handle}",
        handle=handle,
        role=role,
        source=amqp.source_terminus(source),
        target=amqp.target_terminus(target),
        max_message_size=0,
    )


def flow(handle: int, credit: int) -> bytes:
    return amqp.flow(0, next_incoming_id=0, next_outgoing_id=0, handle=handle, delivery_count=0, credit=credit)


def transfer(handle: int, delivery_id: int, payload: bytes) -> bytes:
    fields = [encode(Uint(handle)), encode(Uint(delivery_id)), encode(b"t"), encode(Uint(0)), encode(False)]
    return amqp.frame(0, described(amqp.TRANSFER, fields) + payload)


@pytest.fixture
async def peer(stand_in: StandIn) -> AsyncIterator[Peer]:
    made = Peer(*await asyncio.open_connection("127.0.0.1", stand_in.amqp_port))
    yield made
    made.abort()


@pytest.fixture(autouse=True)
async def _neighbour_is_fine(stand_in: StandIn) -> AsyncIterator[None]:
    yield
    await hub.send(stand_in.connection_string("telemetry"), [hub.event("still here")], "3")
    assert stand_in.namespace.hubs["telemetry"].partitions[3].entries


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"AMQP\x00\x00\x09\x01", bytes(64)])
async def test_another_protocol_gets_the_right_header_and_is_disconnected(peer: Peer, data: bytes) -> None:
    peer.write(data)
    assert await peer._read(8) == amqp.SASL_HEADER
    await peer.hung_up()


@pytest.mark.parametrize(
    "data",
    [
        b"\x7f\xff\xff\xff\x02\x00\x00\x00",
        b"\x00\x00\x00\x04\x02\x00\x00\x00",
        b"\x00\x00\x00\x10\x01\x00\x00\x00" + bytes(8),
        amqp.frame(0, b"\xff\xff\xff"),
        amqp.frame(0, b"\x00" * 200),
        amqp.frame(0, described(amqp.TRANSFER, [b"\xd0\x00\x00"])),
        amqp.frame(0, described(0x77, [])),
        amqp.frame(9, described(amqp.ATTACH, [encode("x")])),
        amqp.frame(0, described(amqp.FLOW, [encode("not a number")] * 7)),
    ],
    ids=["oversized", "undersized", "offset", "garbage", "nested", "truncated", "unknown", "no-session", "types"],
)
async def test_a_broken_frame_closes_the_connection_or_its_session_with_an_error(peer: Peer, data: bytes) -> None:
    await peer.handshake()
    peer.write(data)
    code = amqp.END if data == amqp.frame(0, described(0x77, [])) else amqp.CLOSE
    assert (await peer.error(code, 0)).startswith("amqp:")


@pytest.mark.parametrize("address", ["telemetry", "telemetry/ConsumerGroups/dedup/Partitions/0"])
@pytest.mark.parametrize("role", [amqp.SENDER, amqp.RECEIVER])
async def test_without_a_token_no_link_is_opened(peer: Peer, address: str, role: bool) -> None:
    await peer.handshake()
    peer.write(attach(address, 0, role))
    assert await peer.error(amqp.DETACH, 2) == "amqp:unauthorized-access"


async def test_a_message_that_cannot_be_decoded_is_rejected_and_the_link_stays_open(stand_in: StandIn, peer: Peer) -> None:
    await peer.handshake()
    await peer.put_token(stand_in)
    peer.write(attach("telemetry/Partitions/0", 2, amqp.SENDER))
    bad = [b"\xff\xff", described_map({})[:-1], b"\x00\x53\x75\xb0\xff\xff\xff\xff", b"\x00" * 100]
    for number, payload in enumerate(bad, start=1):
        peer.write(transfer(2, number, payload))
    peer.write(transfer(2, 99, data_section(b"good")))
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not stand_in.namespace.hubs["telemetry"].partitions[0].entries:
            await asyncio.sleep(0.01)
    bodies = [hub.body(event) for event in await hub.receive(stand_in.connection_string("telemetry"), "0", 1)]
    assert b"good" in bodies


async def test_heartbeats_are_sent_as_often_as_the_client_requests(peer: Peer) -> None:
    idle_ms = 200
    peer.write(HANDSHAKE, amqp.frame(0, described(amqp.OPEN, [encode("c"), NULL, NULL, NULL, encode(Uint(idle_ms))])))
    assert await peer._read(8) == amqp.SASL_HEADER
    await peer.next(amqp.SASL_OUTCOME)
    assert await peer._read(8) == amqp.PROTOCOL_HEADER
    await peer.next(amqp.OPEN)
    for _ in range(3):
        assert await peer._read(8) == amqp.EMPTY_FRAME


async def test_a_client_that_falls_silent_is_disconnected(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    await peer.handshake()
    monkeypatch.setattr(connection, "IDLE_TIMEOUT_SECONDS", 0.0)
    peer.write(amqp.frame(0, described(amqp.OPEN, [encode("c"), NULL, NULL, NULL, encode(Uint(100))])))
    assert await peer.error(amqp.CLOSE, 0) == "amqp:resource-limit-exceeded"
    await peer.hung_up()


async def test_a_client_that_never_reads_does_not_fill_the_memory_or_block_other_clients(
    stand_in: StandIn, peer: Peer
) -> None:
    telemetry = stand_in.connection_string("telemetry")
    await peer.handshake()
    await peer.put_token(stand_in)
    peer.write(attach("telemetry/ConsumerGroups/dedup/Partitions/0", 3, amqp.RECEIVER), flow(3, 100_000))
    await peer.next(amqp.ATTACH)
    log = stand_in.namespace.hubs["telemetry"].partitions[0]
    for _ in range(300):  # 60 MB: more than all socket buffers on the way hold
        log.append(BareMessage({}, data_section(b"x" * 200_000)), {}, now_ms())
    log.notify()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not (stuck := [c for c in stand_in.broker._connections if not c.writable]):
            await asyncio.sleep(0.01)
    assert stuck[0]._transport is not None
    assert stuck[0]._transport.get_write_buffer_size() < 1_000_000
    assert await hub.receive(telemetry, "0", 5, consumer_group="$Default", prefetch=5)


async def test_events_with_properties_of_every_amqp_type_pass_byte_for_byte(stand_in: StandIn, peer: Peer) -> None:
    every_type = (
        b"\x50\x01 \x51\xff \x60\x00\x01 \x61\xff\xff \x70\x00\x00\x00\x01 "
        b"\x71\xff\xff\xff\xff \x80\x00\x00\x00\x00\x00\x00\x00\x01 "
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xff \x72\x3f\x80\x00\x00 \x82\x3f\xf0\x00\x00\x00\x00\x00\x00 "
        b"\x83\x00\x00\x00\x00\x00\x00\x00\x01 "
        b"\x98" + bytes(16) + b" \x40 \x41 \x42 \x43 \x44 \x73\x00\x00\x00\x41 \x74\x00\x00\x00\x00 \x84" + bytes(8)
    )
    values = [value for value in every_type.split(b" ") if value]
    items = [part for n, value in enumerate(values) for part in (encode(f"p{n}"), value)]
    body = b"".join(items)
    properties = b"\x00\x53\x74\xd1" + (len(body) + 4).to_bytes(4, "big") + len(items).to_bytes(4, "big") + body
    await peer.handshake()
    await peer.put_token(stand_in)
    peer.write(attach("telemetry/Partitions/1", 2, amqp.SENDER))
    peer.write(transfer(2, 1, properties + data_section(b"typed")))
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not stand_in.namespace.hubs["telemetry"].partitions[1].entries:
            await asyncio.sleep(0.01)
    assert (
        stand_in.namespace.hubs["telemetry"].partitions[1].entries[0].message.endswith(properties + data_section(b"typed"))
    )


async def test_a_receiver_that_names_no_position_begins_with_the_oldest_event(stand_in: StandIn, peer: Peer) -> None:
    await hub.send(stand_in.connection_string("telemetry"), [hub.event("sent before")], "0")
    await peer.handshake()
    await peer.put_token(stand_in)
    peer.write(attach("telemetry/ConsumerGroups/dedup/Partitions/0", 2, amqp.RECEIVER), flow(2, 10))
    handle, *_ = await peer.next(amqp.TRANSFER)
    assert handle == 2
