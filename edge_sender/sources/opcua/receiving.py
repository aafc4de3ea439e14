"""Takes in what a subscription delivers: every notification becomes a reading, or is counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from asyncua import ua

from edge_sender.config.nodes import TimeChoice
from edge_sender.counters import SourceTally
from edge_sender.ports import Intake
from edge_sender.sources.opcua.addresses import Addresses, printable
from edge_sender.sources.opcua.decoding import Change, Event, Message
from edge_sender.sources.opcua.events import event_sample
from edge_sender.sources.opcua.items import MODEL_HANDLE, Item
from edge_sender.sources.opcua.json_encoding import Values
from edge_sender.sources.opcua.limits import name_of
from edge_sender.sources.opcua.notifications import Form, NoReadingError, has_overflowed, sample_of
from edge_sender.sources.opcua.subscription import SubscriptionLostError

logger = logging.getLogger(__name__)

MOST_LOGGED = 10
"""Variables with trouble that are logged; all that are kept are in the status."""

NO_TIME: dict[TimeChoice, str] = {
    "source": "without-time: the server gives no source time; with `time: source-or-server` its own time is taken then",
    "server": "without-time: the server does not say its own time; `time: source` takes that of the value",
    "source-or-server": "without-time: the server gives neither a source time nor its own",
}

EVENT_WITHOUT_TIME = "without-time: an event has no Time, which belongs to its identity"


class Receiver:
    """`items` by their handles."""

    def __init__(
        self,
        name: str,
        items: Mapping[int, Item],
        form: Form,
        intake: Intake,
        tally: SourceTally,
        model_changed: Callable[[], None],
    ) -> None:
        self.values = Values((), {})
        """How values are read; set when the server was asked."""
        self.addresses = Addresses("", ())
        """What nodes are called; set likewise."""
        self._name = name
        self._items = items
        self._form = form
        self._intake = intake
        self._tally = tally
        self._model_changed = model_changed

    def take(self, message: Message) -> None:
        """Raises SubscriptionLostError, if the server says that the subscription has ended."""
        for change in message.changes:
            self._take(change)
        if message.unreadable:
            self._tally.count("undecodable", message.unreadable)
            logger.warning("%s: %d notifications can't be told apart, and are lost", self._name, message.unreadable)
        for event in message.events:
            if event.handle == MODEL_HANDLE:
                self._model_changed()
            else:
                self._take_event(event)
        for status in filter(None, message.statuses):
            raise SubscriptionLostError(f"the server has ended the subscription ({name_of(status)})")

    def read(self, changes: Sequence[Change], at_ns: int) -> None:
        """What was read for one moment. Its time is that moment, on every gateway."""
        for change in changes:
            self._take(change, at_ns)

    def refused(self, item: Item, why: str) -> None:
        """The server's answer about this variable can't be had."""
        self._tally.count("undecodable")
        self._list(item, why)

    def beat(self) -> None:
        """Repeat the last readings of the variables whose heartbeat is due."""
        now = time.monotonic()
        for item in self._items.values():
            if item.last is not None and now - item.delivered_at >= item.asked.heartbeat_seconds:
                self._intake.take(item.last, initial=False)
                item.delivered_at = now

    def _take(self, change: Change, at_ns: int | None = None) -> None:
        item = self._items.get(change.handle)
        if item is None:
            self._tally.count("unknown-item")
            return
        item.is_dead = change.status == ua.StatusCodes.BadNodeIdUnknown
        if has_overflowed(change.status):
            self._tally.count("overflow")
            self._list(
                item, "the server's queue overflowed: it dropped readings; a longer queue or shorter publishing helps"
            )
        try:
            sample = sample_of(change, item.uri, self._form, self.values)
        except NoReadingError as error:
            self._tally.count(error.reason)
            if error.reason != "waiting":
                self._list(item, f"{error.reason}: {error}")
            return
        if at_ns is not None:
            self._intake.take(sample._replace(time_ns=at_ns))
        else:
            if sample.time_ns is None:
                self._tally.without_time += 1
                self._list(item, NO_TIME[self._form.time])
            self._intake.take(sample, initial=not item.is_delivered)
        item.is_delivered = True
        if item.asked.heartbeat_seconds:
            item.last, item.delivered_at = sample, time.monotonic()

    def _take_event(self, event: Event) -> None:
        item = self._items.get(event.handle)
        if item is None or item.events is None:
            self._tally.count("unknown-item")
            return
        try:
            sample = event_sample(event, item.events, self.addresses, self.values)
        except NoReadingError as error:
            self._tally.count(error.reason)
            self._list(item, f"{error.reason}: {error}")
            return
        if sample.time_ns is None:
            self._tally.without_time += 1
            self._list(item, EVENT_WITHOUT_TIME)
        self._intake.take(sample)

    def _list(self, item: Item, why: str) -> None:
        is_new = self._tally.trouble(printable(item.uri), printable(why))
        if is_new and len(self._tally.troubled) <= MOST_LOGGED:
            logger.warning("%s: %s: %s", self._name, printable(item.uri), printable(why))
        if is_new and len(self._tally.troubled) == MOST_LOGGED:
            logger.warning("%s: further variables like this are listed in /v1/status only", self._name)
