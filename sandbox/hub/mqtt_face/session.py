"""What IoT Hub keeps of a device or module between its connections: its subscriptions, and messages that wait for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from sandbox.hub.mqtt_face import packets
from sandbox.hub.mqtt_face.inputs import WaitingInputs
from sandbox.hub.mqtt_face.packets import Publish
from sandbox.hub.namespace import Device

TWIN = "$iothub/twin/"
METHODS = "$iothub/methods/"
TWIN_ANSWERS, DESIRED_CHANGES, CALLS = f"{TWIN}res/#", f"{TWIN}PATCH/properties/desired/#", f"{METHODS}POST/#"
MAX_WAITING = 50
"""How many cloud-to-device messages IoT Hub keeps for a device."""


class QueueFullError(Exception):
    """The device has as many messages waiting as IoT Hub keeps."""


@dataclass
class DeviceSession:
    device: Device
    filters: dict[str, int] = field(default_factory=dict)
    """Topic filters that were granted, with their QoS."""
    waiting: list[Publish] = field(default_factory=list)
    """Messages that the device has not acknowledged yet, oldest first."""
    inputs: WaitingInputs = field(default_factory=WaitingInputs)
    """What other modules sent to this one."""
    _last_number: int = 0

    @property
    def name(self) -> str:
        return self.device.path

    @property
    def for_messages(self) -> str:
        """The topic filter of cloud-to-device messages."""
        return f"{self.device.resource}/messages/devicebound/#"

    @property
    def for_inputs(self) -> str:
        """The topic filter of all inputs of a module."""
        return f"{self.device.resource}/inputs/#"

    def subscribe(self, topic_filter: str, qos: int) -> int:
        """The QoS that is granted, which is 1 at most, or REFUSED."""
        allowed = {TWIN_ANSWERS, DESIRED_CHANGES, CALLS, self.for_messages, self.for_inputs}
        if topic_filter not in allowed:
            return packets.REFUSED
        self.filters[topic_filter] = min(qos, 1)
        return self.filters[topic_filter]

    def next_number(self) -> int:
        self._last_number = self._last_number % 65_535 + 1
        return self._last_number

    def numbers(self) -> Iterator[int]:
        while True:
            yield self.next_number()

    def post(self, body: bytes, properties: Mapping[str, str]) -> Publish:
        """Queue a cloud-to-device message. Raises QueueFullError."""
        if len(self.waiting) >= MAX_WAITING:
            raise QueueFullError(f"{self.device.path} has {MAX_WAITING} messages waiting, which is all that IoT Hub keeps")
        bag = {"$.to": f"/{self.device.resource}/messages/devicebound", **properties}
        topic = f"{self.for_messages.removesuffix('#')}{urlencode(bag, quote_via=quote, safe='')}"
        self.waiting.append(Publish(topic, body, qos=1, packet_id=self.next_number()))
        return self.waiting[-1]

    def acknowledged(self, number: int) -> None:
        if self.inputs.acknowledged(number):
            return
        self.waiting = [message for message in self.waiting if message.packet_id != number]
