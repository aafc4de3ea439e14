"""The stand-in, used by the unmodified Event Hubs SDKs."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest
from azure.core.credentials import AccessToken, AzureSasCredential
from azure.eventhub import EventData
from azure.eventhub._pyamqp import cbs
from azure.eventhub._pyamqp.error import AMQPLinkError
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import AuthenticationError, ConnectError, ConnectionLostError, EventHubError
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore

from sandbox.hub import sas
from sandbox.hub.namespace import POLICY
from sandbox.hub.stand_in import EXPIRE_INTERVAL_SECONDS, HubOptions, StandIn
from tests.support import hub, peers


@pytest.fixture
def telemetry(stand_in: StandIn) -> str:
    return stand_in.connection_string("telemetry")


@pytest.fixture
async def filled(telemetry: str) -> list[EventData]:
    """Five events in partition 1, a few milliseconds apart."""
    await hub.send(telemetry, [hub.event(f"e{number}") for number in range(5)], "1", apart_seconds=0.005)
    return await hub.receive(telemetry, "1", 5)


async def test_hub_and_partition_properties(telemetry: str, filled: list[EventData]) -> None:
    async with EventHubProducerClient.from_connection_string(telemetry) as client:
        properties = await client.get_eventhub_properties()
        full = await client.get_partition_properties("1")
        empty = await client.get_partition_properties("0")
    assert (properties["eventhub_name"], properties["partition_ids"]) == ("telemetry", ["0", "1", "2", "3"])
    assert (full["beginning_sequence_number"], full["last_enqueued_sequence_number"], full["is_empty"]) == (0, 4, False)
    assert full["last_enqueued_offset"] == filled[-1].offset
    assert full["last_enqueued_time_utc"] == filled[-1].enqueued_time
    assert (empty["last_enqueued_sequence_number"], empty["is_empty"]) == (-1, True)


async def test_what_is_sent_is_received(telemetry: str) -> None:
    sent = hub.event(b"\x00\xff", "application/x-odd", text="ä", number=7, flag=True, real=1.5, raw=b"\x80")
    sent.message_id, sent.correlation_id = "m-1", "c-1"
    await hub.send(telemetry, [sent], "2")
    (got,) = await hub.receive(telemetry, "2", 1)
    assert hub.body(got) == b"\x00\xff"
    assert (got.content_type, got.message_id, got.correlation_id) == ("application/x-odd", "m-1", "c-1")
    assert got.properties == {b"text": "ä".encode(), b"number": 7, b"flag": True, b"real": 1.5, b"raw": b"\x80"}
    assert got.sequence_number == 0


async def test_batches_to_a_partition_with_a_key_and_with_neither(telemetry: str) -> None:
    async with EventHubProducerClient.from_connection_string(telemetry) as client:
        choices: list[dict[str, Any]] = [{"partition_id": "3"}, {"partition_key": "key"}, {}]
        for options in choices:
            batch = await client.create_batch(**options)
            for number in range(3):
                batch.add(EventData(f"{options}-{number}"))
            await client.send_batch(batch)
    received = await hub.read_all(telemetry)
    keyed = [event for event in received if event.partition_key == b"key"]
    assert (len(received), len(keyed)) == (9, 3)
    assert len(await hub.receive(telemetry, "3", 3)) >= 3


async def test_every_start_position(telemetry: str, filled: list[EventData]) -> None:
    offset, time = filled[2].offset, filled[2].enqueued_time
    expected: dict[tuple[Any, bool], int] = {
        ("-1", False): 0,
        (2, False): 3,
        (2, True): 2,
        (offset, False): 3,
        (offset, True): 2,
        (time, False): 3,
        (time, True): 2,
    }
    reads = [
        hub.receive(telemetry, "1", 5 - first, group, starting_position=position, starting_position_inclusive=inclusive)
        for ((position, inclusive), first), group in zip(expected.items(), ["dedup", "$Default"] * 4, strict=False)
    ]
    first_numbers = [received[0].sequence_number for received in await asyncio.gather(*reads)]
    assert dict(zip(expected, first_numbers, strict=True)) == expected


async def test_latest_receives_only_what_is_sent_later(telemetry: str, filled: list[EventData]) -> None:
    waiting = asyncio.create_task(hub.receive(telemetry, "1", 1, starting_position="@latest"))
    async with asyncio.timeout(hub.TIMEOUT_SECONDS):
        while not waiting.done():
            await hub.send(telemetry, [hub.event("late")], "1")
    assert {hub.body(event) for event in await waiting} == {b"late"}


async def test_runtime_metrics_come_with_the_events(telemetry: str, filled: list[EventData]) -> None:
    seen: dict[str, Any] = {}
    client = EventHubConsumerClient.from_connection_string(telemetry, "dedup")

    async def on_event(context: Any, _: EventData | None) -> None:
        seen.update(context.last_enqueued_event_properties)

    async with client:
        options: dict[str, Any] = {"starting_position": "-1", "track_last_enqueued_event_properties": True}
        task = asyncio.create_task(client.receive(on_event, partition_id="1", **options))
        async with asyncio.timeout(hub.TIMEOUT_SECONDS):
            while not seen:
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert seen["sequence_number"] == 4
    assert seen["offset"] == filled[-1].offset
    assert seen["retrieval_time"] - seen["enqueued_time"] < timedelta(minutes=1)


async def test_groups_read_independently(stand_in: StandIn, telemetry: str, filled: list[EventData]) -> None:
    for group in ("dedup", "$Default"):
        assert len(await hub.receive(telemetry, "1", 5, consumer_group=group)) == 5


async def test_large_events_come_in_several_frames(telemetry: str) -> None:
    body = bytes(range(256)) * 1000
    await hub.send(telemetry, [hub.event(body)] * 3, "0")
    assert [hub.body(event) for event in await hub.receive(telemetry, "0", 3, prefetch=1)] == [body] * 3


async def test_retention_drops_old_events(stand_in: StandIn, telemetry: str, filled: list[EventData]) -> None:
    partition = stand_in.namespace.hubs["telemetry"].partitions[1]
    partition.expire(partition.entries[3].enqueued_ms + 86_400_000)
    received = await hub.receive(telemetry, "1", 2)
    assert [event.sequence_number for event in received] == [3, 4]


# --- epochs


async def reading(
    connection_string: str, errors: list[str], **options: Any
) -> tuple[EventHubConsumerClient, asyncio.Task[None]]:
    client = EventHubConsumerClient.from_connection_string(connection_string, "dedup", retry_total=0)

    async def on_batch(*_: Any) -> None:
        return

    async def on_error(_: Any, error: Exception) -> None:
        errors.append(str(error))

    options = {"partition_id": "1", "starting_position": "-1", **options}
    return client, asyncio.create_task(client.receive_batch(on_batch, on_error=on_error, **options))


async def wait_for(errors: list[str]) -> None:
    async with asyncio.timeout(hub.TIMEOUT_SECONDS):
        while not errors:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("first", "second", "loser"), [(1, 2, 0), (1, 1, 0), (2, 1, 1), (None, 0, 0), (0, None, 1)])
async def test_an_equal_or_higher_epoch_takes_the_link(
    stand_in: StandIn, telemetry: str, first: int | None, second: int | None, loser: int
) -> None:
    errors: tuple[list[str], list[str]] = ([], [])
    running = [await reading(telemetry, errors[0], owner_level=first)]
    partition = stand_in.namespace.hubs["telemetry"].partitions[1]
    async with asyncio.timeout(hub.TIMEOUT_SECONDS):
        while not partition.listeners:
            await asyncio.sleep(0.01)
    running.append(await reading(telemetry, errors[1], owner_level=second))
    await wait_for(errors[loser])
    assert "amqp:link:stolen" in errors[loser][0]
    assert not errors[1 - loser]
    for client, task in running:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()


# --- errors, as the SDK's own exceptions


async def test_an_unknown_hub(telemetry: str) -> None:
    unknown = telemetry.replace("EntityPath=telemetry", "EntityPath=nope")
    async with EventHubProducerClient.from_connection_string(unknown, retry_total=0) as client:
        with pytest.raises(
            AuthenticationError, match="CBS Token authentication failed"
        ):  # what the SDK makes of a 404 there
            await client.get_eventhub_properties()


@pytest.mark.parametrize(
    ("options", "condition", "text"),
    [
        (
            {"group": "nobody"},
            "amqp:not-found",
            "The messaging entity 'sb://namespace/telemetry/consumergroups/nobody/partitions/0' could not be found",
        ),
        (
            {"partition_id": "9"},
            "com.microsoft:argument-out-of-range",
            "The specified partition is invalid for an EventHub partition sender or receiver. It should be between 0 and 3",
        ),
        (
            {"event_position": "21474836480"},
            "com.microsoft:argument-error",
            "The supplied offset '21474836480' is invalid. The last offset in the system is '-1'",
        ),
        (
            {"event_position": 7},
            "com.microsoft:argument-error",
            "The supplied sequence number '7' is invalid. The last sequence number in the system is '-1'",
        ),
    ],
)
async def test_a_receiver_is_refused_with_the_condition_and_the_words_of_event_hubs(
    telemetry: str, options: dict[str, Any], condition: str, text: str
) -> None:
    with pytest.raises(AMQPLinkError) as raised:
        await hub.opening(telemetry, **options)
    named = raised.value.condition
    assert (named.decode() if isinstance(named, bytes) else named.value.decode()) == condition
    assert text in str(raised.value)


async def test_the_sixth_receiver_is_told_the_names_of_the_others(telemetry: str) -> None:
    client = EventHubConsumerClient.from_connection_string(telemetry, "dedup", retry_total=0)
    async with client:
        made = [client._create_consumer("dedup", "0", "-1", None) for _ in range(6)]  # type: ignore[arg-type]  # never called
        for consumer in made[:5]:
            await consumer._open()
        with pytest.raises(AMQPLinkError, match="receivers per .* is 5. List of connected receivers - "):
            await made[5]._open()
        for consumer in made:
            await consumer.close()


async def test_an_unknown_partition(telemetry: str) -> None:
    async with EventHubConsumerClient.from_connection_string(telemetry, "dedup", retry_total=0) as client:
        with pytest.raises(ConnectError, match="404"):
            await client.get_partition_properties("9")


async def test_an_event_that_is_too_large(telemetry: str) -> None:
    async with EventHubProducerClient.from_connection_string(telemetry, retry_total=0) as client:
        batch = await client.create_batch()
        assert batch.max_size_in_bytes == 256 * 1024
        with pytest.raises(ValueError, match="reached"):
            batch.add(EventData(b"x" * 300_000))
        with pytest.raises(EventHubError, match=r"size:\d+ bytes\) exceeds the limit \(262144 bytes\)"):
            await client.send_event(EventData(b"x" * 300_000), timeout=10)
        await client.send_event(EventData(b"the client goes on"), timeout=10)


@pytest.mark.parametrize("fault", ["another key", "expired", "another hub"])
async def test_a_bad_signature_is_refused(stand_in: StandIn, telemetry: str, fault: str) -> None:
    key = b"x" if fault == "another key" else stand_in.namespace.key.encode()
    resource = f"sb://127.0.0.1:{stand_in.amqp_port}/{'clean' if fault == 'another hub' else 'telemetry'}"
    token = sas.generate(resource, key, 1 if fault == "expired" else 4_000_000_000, POLICY)
    client = EventHubProducerClient(
        f"127.0.0.1:{stand_in.amqp_port}", "telemetry", AzureSasCredential(token), use_tls=False, retry_total=0
    )
    async with client:
        with pytest.raises(
            (AuthenticationError, ConnectError, ConnectionLostError), match=r"[Uu]nauthorized|authentication"
        ):
            await client.send_event(EventData(b"x"), timeout=10)
    assert not any(partition.entries for partition in stand_in.namespace.hubs["telemetry"].partitions)


# --- rights, and tokens that expire on open connections


async def test_a_policy_gives_its_rights_and_no_others() -> None:
    stand_in = StandIn(HubOptions(amqp_port=0, mqtt_port=None, policies={"reader": frozenset({"Listen"})}))
    await stand_in.start()
    try:
        await hub.opening(stand_in.connection_string("telemetry", "reader"))
        with pytest.raises(EventHubError, match=r"'Send' claim\(s\) are required"):
            await hub.send(stand_in.connection_string("telemetry", "reader"), [hub.event("x")])
        await hub.send(stand_in.connection_string("telemetry", "SendOnly"), [hub.event("x")])
        with pytest.raises(AMQPLinkError, match=r"'Listen' claim\(s\) are required"):
            await hub.opening(stand_in.connection_string("telemetry", "SendOnly"))
    finally:
        await stand_in.stop()


TOKEN_SECONDS, TOLD_SECONDS = 3, 10


class ShortLived:
    """Gives out tokens of a few seconds, which the client believes to last longer."""

    def __init__(self, stand_in: StandIn) -> None:
        self.token_type = b"servicebus.windows.net:sastoken"
        self.first_expiry = time.time() + TOKEN_SECONDS
        self._stand_in = stand_in

    async def get_token(self, *_: Any, **__: Any) -> AccessToken:
        now = int(time.time())
        resource = f"sb://127.0.0.1:{self._stand_in.amqp_port}/telemetry"
        token = sas.generate(resource, self._stand_in.namespace.key.encode(), now + TOKEN_SECONDS, POLICY)
        return AccessToken(token, now + TOLD_SECONDS)

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("renews", [True, False])
async def test_a_link_ends_with_its_token_unless_the_client_renews_it(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, renews: bool
) -> None:
    """The SDK renews in the last tenth of the time that it was told, in whole seconds. Its clock is set forward, so that
    this begins half a second after each renewal."""
    if renews:
        real: Any = vars(cbs)["utc_now"]
        ahead = timedelta(seconds=TOLD_SECONDS - 1.5)
        monkeypatch.setattr(cbs, "utc_now", lambda: real() + ahead)
    credential: Any = ShortLived(stand_in)
    address, errors = f"127.0.0.1:{stand_in.amqp_port}", []
    client = EventHubConsumerClient(address, "telemetry", "dedup", credential, use_tls=False, retry_total=0)

    async def on_batch(*_: Any) -> None:
        return

    async def on_error(_: Any, error: Exception) -> None:
        errors.append(str(error))

    task = asyncio.create_task(client.receive_batch(on_batch, on_error=on_error, partition_id="1", starting_position="-1"))
    async with asyncio.timeout(hub.TIMEOUT_SECONDS):
        while not errors and (not renews or time.time() < credential.first_expiry + 2 * EXPIRE_INTERVAL_SECONDS):
            await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await client.close()
    assert bool(errors) is not renews
    if errors:
        assert "Code: RenewToken. Details: Unauthorized access. 'Listen' claim(s) are required" in errors[0]


# --- load balancing


async def test_two_processors_share_the_partitions_and_hand_them_over(telemetry: str, azurite: str) -> None:
    container = await peers.new_container(azurite)
    owned: dict[str, set[str]] = {"a": set(), "b": set()}
    tasks, clients = {}, {}

    def start(name: str) -> None:
        async def on_event(*_: Any) -> None:
            return

        async def on_open(context: Any) -> None:
            owned[name].add(context.partition_id)

        async def on_close(context: Any, _: Any) -> None:
            owned[name].discard(context.partition_id)

        clients[name] = EventHubConsumerClient.from_connection_string(
            telemetry,
            "dedup",
            checkpoint_store=BlobCheckpointStore.from_connection_string(azurite, container),
            load_balancing_interval=0.5,
            partition_ownership_expiration_interval=3,
        )
        tasks[name] = asyncio.create_task(
            clients[name].receive(on_event, on_partition_initialize=on_open, on_partition_close=on_close)
        )

    async def stop(name: str) -> None:
        tasks[name].cancel()
        await asyncio.gather(tasks[name], return_exceptions=True)
        await clients[name].close()

    async def until(a: int, b: int) -> None:
        async with asyncio.timeout(60):
            while (len(owned["a"]), len(owned["b"])) != (a, b) or owned["a"] & owned["b"]:
                await asyncio.sleep(0.05)

    start("a")
    await until(4, 0)
    start("b")
    await until(2, 2)
    await stop("a")
    owned["a"].clear()
    await until(0, 4)
    await stop("b")
