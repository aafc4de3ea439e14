"""A module's inputs: what comes while a source is replaced waits for it, and what no source takes is counted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from azure.iot.device import Message

from edge_sender.ports import ModuleMessage, UplinkError
from edge_sender.uplinks.inputs import MOST_WAITING, ModuleInputs


class Client:
    """The SDK's client, as far as inputs need it."""

    connected = True
    on_message_received: Any = None

    async def deliver(self, name: str, body: str | bytes, **properties: str | None) -> None:
        message = Message(body)
        message.input_name = name
        message.custom_properties.update({key.replace("_", "."): value for key, value in properties.items()})
        await self.on_message_received(message)
        await asyncio.sleep(0)  # it calls back through the loop


async def subscribed() -> tuple[Client, ModuleInputs]:
    client = Client()
    inputs = ModuleInputs(lambda: client)
    await inputs.subscribe()
    return client, inputs


async def test_what_comes_between_two_listeners_waits_for_the_next() -> None:
    client, inputs = await subscribed()
    first: list[ModuleMessage] = []
    with inputs.listening("plant", first.append):
        await client.deliver("plant", b"1")
    await client.deliver("plant", b"2")
    second: list[ModuleMessage] = []
    with inputs.listening("plant", second.append):
        await client.deliver("plant", b"3")
    assert [message.body for message in first] == [b"1"]
    assert [message.body for message in second] == [b"2", b"3"]


async def test_a_message_for_an_input_of_no_source_goes_to_one_of_them_to_be_counted() -> None:
    client, inputs = await subscribed()
    heard: list[ModuleMessage] = []
    with inputs.listening("plant", heard.append):
        await client.deliver("elsewhere", "text", line="3", **{"$_cmid": "opcpublisher", "empty": None})
    (message,) = heard
    assert (message.input, message.body) == ("elsewhere", b"text")
    assert message.properties == {"line": "3", "empty": ""}
    assert message.system == {"$.cmid": "opcpublisher"}


async def test_without_any_source_only_so_many_are_kept_and_the_rest_is_counted() -> None:
    client, inputs = await subscribed()
    for number in range(MOST_WAITING + 3):
        await client.deliver("plant", str(number))
    assert inputs.lost == 3
    heard: list[ModuleMessage] = []
    with inputs.listening("plant", heard.append):
        assert len(heard) == MOST_WAITING


async def test_a_client_that_is_not_connected_is_said_so() -> None:
    client, inputs = await subscribed()
    client.connected = False
    with pytest.raises(UplinkError, match="not connected"):
        await inputs.subscribe()
