"""MQTT source: every message on the chosen topics is a sample, and its topic names the source."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho

from edge_sender.ports import Intake
from edge_sender.sources.misfits import Misfit
from edge_sender.sources.mqtt.client import (
    REFUSED,
    SESSION_TAKEN_OVER,
    MqttBroker,
    connect,
    granted_qos,
    make_client,
    subscribe,
)
from edge_sender.sources.mqtt.format import MqttFormat
from edge_sender.sources.mqtt.retained import Retained, RetainedFilter

if TYPE_CHECKING:
    from edge_sender.sources.mqtt.sparkplug import SparkplugFormat

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
SHORT_SECONDS = 10.0
SHORT_CONNECTIONS = 3
"""After so many connections in a row that ended so soon, another client seems to have the same id."""
REASONS = ("retained", "unusable")
QUIET = ("no-reading",)
"""What is usual, such as births, and not logged."""


def _set_exception(future: asyncio.Future[None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


class MqttSource:
    """With `keep_session` the broker keeps messages for this client while it is disconnected (QoS 1)."""

    def __init__(
        self,
        name: str,
        broker: MqttBroker,
        form: MqttFormat | SparkplugFormat,
        client_id: str,
        *,
        keep_session: bool,
        retained: Retained = "take",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.is_up = False
        self.problem: str | None = "not connected yet"
        self.notice: str | None = None
        self.skipped = Counter(dict.fromkeys((*REASONS, *form.reasons), 0))
        self.unacknowledged = 0
        self._broker = broker
        self._format = form
        self._client_id = client_id
        self._keep_session = keep_session
        self._retained_mode = retained
        self._retained = RetainedFilter(retained)
        self._now = monotonic
        self._connected_at: float | None = None
        self._was_connected = False
        self._short_connections = 0
        self._told: set[str] = set()

    async def run(self, intake: Intake) -> None:
        while True:
            try:
                await self._run_client(intake)
            except ssl.SSLError as error:
                self._note(f"TLS failed, perhaps since the broker wants another certificate of this client: {error}")
            except Exception as error:  # noqa: BLE001  # whatever a broker answers must not end the source unnoticed
                self._note(str(error) or repr(error))
            await asyncio.sleep(RETRY_SECONDS)

    async def _run_client(self, intake: Intake) -> None:
        """Run until the library's client fails. It reconnects by itself, but some errors (of TLS, for example) end it."""
        loop = asyncio.get_running_loop()
        client = make_client(self._broker, self._client_id, keep_session=self._keep_session)

        def later(call: Callable[..., None], *values: Any) -> None:
            """The library calls back on its own thread, also while the loop is being closed."""
            if not loop.is_closed():
                loop.call_soon_threadsafe(call, *values)

        def on_message(_: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
            later(self._take, client, message, intake)

        def on_connect(_: paho.Client, __: Any, flags: dict[str, int], code: Any, *___: Any) -> None:
            if int(getattr(code, "value", code)):
                later(self._note, str(code) if self._broker.is_5 else paho.connack_string(code))
                return
            later(self._note_connection, bool(flags.get("session present")))
            subscribe(client, self._broker, self._format.topics, self._retained_mode)

        def on_disconnect(_: paho.Client, __: Any, code: Any, *___: Any) -> None:
            later(self._note_disconnection, code)

        def on_subscribe(_: paho.Client, __: Any, ___: int, granted: Any, *____: Any) -> None:
            refused = [
                topic for topic, code in zip(self._format.topics, granted, strict=False) if granted_qos(code) >= REFUSED
            ]
            later(self._note, f"the topics {refused} were refused" if refused else None)

        client.on_message, client.on_connect, client.on_disconnect = on_message, on_connect, on_disconnect
        client.on_subscribe = on_subscribe
        connect(client, self._broker, keep_session=self._keep_session)
        ended: asyncio.Future[None] = loop.create_future()

        def work() -> None:
            try:
                client.loop_forever(retry_first_connection=True)
            except Exception as error:  # noqa: BLE001  # raised where the thread is waited for
                later(_set_exception, ended, error)
            else:
                later(_set_exception, ended, ConnectionError("the client has ended"))

        thread = threading.Thread(target=work, name=f"mqtt {self.name}", daemon=True)
        thread.start()
        try:
            await ended
        finally:
            client.disconnect()
            await asyncio.to_thread(thread.join)

    def _take(self, client: paho.Client, message: paho.MQTTMessage, intake: Intake) -> None:
        """Whatever a message holds, it must not end the sender."""
        try:
            topic: str = message.topic
        except UnicodeDecodeError as error:
            self._skip(Misfit("unusable", str(error)))
            return
        if not self._retained.is_new(topic, message.payload, is_retained=bool(message.retain)):
            self.skipped["retained"] += 1
            return
        found = list(self._format.samples(topic, message.payload))
        samples = [item for item in found if not isinstance(item, Misfit)]
        self.unacknowledged += message.qos == 0 and bool(samples)
        for misfit in found:
            if isinstance(misfit, Misfit):
                self._skip(misfit)
        for sample in samples:
            intake.take(sample)
        for command in self._format.commands():
            client.publish(*command)

    def _skip(self, misfit: Misfit) -> None:
        self.skipped[misfit.reason] += 1
        if self.skipped[misfit.reason] == 1 and misfit.reason not in QUIET:
            logger.warning("%s: %s; further ones will only be counted: %s", self.name, misfit.reason, misfit)

    def _note_connection(self, session_present: bool) -> None:  # called back
        self._connected_at = self._now()
        if self._was_connected and self._keep_session and not session_present:
            self._tell("the broker had no session any more: what was published since the connection was lost did not arrive")
        self._was_connected = True

    def _note_disconnection(self, code: Any) -> None:
        lasted = SHORT_SECONDS if self._connected_at is None else self._now() - self._connected_at
        if self._connected_at is not None:
            self._short_connections = self._short_connections + 1 if lasted < SHORT_SECONDS else 0
        self._connected_at = None
        is_taken_over = getattr(code, "value", None) == SESSION_TAKEN_OVER
        if is_taken_over or self._short_connections >= SHORT_CONNECTIONS:
            seems = "" if is_taken_over else "seems to have "
            self._tell(f"another client {seems or 'has '}the client id {self._client_id!r}, and takes the session away")
        self._note(str(code) if hasattr(code, "value") else paho.error_string(code))

    def _tell(self, notice: str) -> None:
        if notice != self.notice:
            logger.warning("%s: %s:%d: %s", self.name, self._broker.host, self._broker.port, notice)
        self.notice = notice

    def _note(self, problem: str | None) -> None:
        """Log each problem once until it works again, not every failure."""
        self.is_up = problem is None
        if problem is not None and problem not in self._told:
            self._told.add(problem)
            logger.warning("%s: not connected to %s:%d: %s", self.name, self._broker.host, self._broker.port, problem)
        elif problem is None:
            self._told.clear()
            logger.info("%s: connected to %s:%d", self.name, self._broker.host, self._broker.port)
        self.problem = problem
