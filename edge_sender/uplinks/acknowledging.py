"""Below the SDK: a message of an input is acknowledged once its readings are on disk.

The SDK has no way to do so: its MQTT client (paho 1.6) acknowledges as soon as it has passed the message on. So each message
gets a token on its way up, in its properties, and the acknowledgement waits for whoever brings the token back. On a new
connection the hub sends again what was not acknowledged, so that tokens of a former one are worth nothing.
"""

from __future__ import annotations

import itertools
from typing import Any
from urllib.parse import quote

MARK = "$.edge-sender-mark"
"""The last property of this name counts, and so another module can't make one up."""
INPUTS = "/inputs/"
SLASHES = 6
"""In devices/DEVICE/modules/MODULE/inputs/NAME/PROPERTIES, where the SDK finds properties."""
AT_LEAST_ONCE = 1


class Acknowledger:
    """Wraps an MQTT client. What its thread notes, the event loop's thread takes."""

    def __init__(self, mqtt: Any) -> None:
        self._mqtt = mqtt
        self._pass_on, self._acknowledge = mqtt.on_message, mqtt._send_puback
        self._numbers = itertools.count(1)
        self._unacknowledged: dict[str, tuple[object, int]] = {}
        """By token: the connection on which it came, and its number there."""
        self._at_hand: int | None = None
        """The number of the message that is passed on at the moment."""
        mqtt.on_message, mqtt._send_puback = self._on_message, self._after

    def _on_message(self, mqtt: Any, userdata: object, message: Any) -> None:
        self._at_hand = None
        topic = message.topic
        if message.qos == AT_LEAST_ONCE and topic.count("/") == SLASHES and INPUTS in topic:
            token, self._at_hand = str(next(self._numbers)), message.mid
            self._unacknowledged[token] = mqtt._sock, message.mid
            message.topic = f"{topic}{'' if topic.endswith('/') else '&'}{quote(MARK)}={token}".encode()
        self._pass_on(mqtt, userdata, message)

    def _after(self, number: int) -> Any:
        """In place of the acknowledgement that follows right after a message was passed on."""
        return 0 if number == self._at_hand else self._acknowledge(number)

    def acknowledge(self, token: str) -> None:
        connection, number = self._unacknowledged.pop(token, (None, 0))
        if connection is not None and connection is self._mqtt._sock:
            self._acknowledge(number)


def acknowledger_of(client: Any) -> Acknowledger | None:
    """Of a client of the SDK. None if its internals are not those that this module knows: then it acknowledges by itself."""
    stage = getattr(getattr(client, "_mqtt_pipeline", None), "_pipeline", None)
    while stage is not None and not hasattr(stage, "transport"):
        stage = getattr(stage, "next", None)
    mqtt = getattr(getattr(stage, "transport", None), "_mqtt_client", None)
    return Acknowledger(mqtt) if hasattr(mqtt, "_send_puback") and hasattr(mqtt, "on_message") else None
