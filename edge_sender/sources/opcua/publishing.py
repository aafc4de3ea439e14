"""Fetches the notification messages of all subscriptions in order, and asks again for those that are missing.

Source: OPC 10000-4, 5.13.5 (Publish) and 5.13.6 (Republish).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from asyncua import ua

from edge_sender.counters import SourceTally
from edge_sender.sources.opcua.connection import Connection
from edge_sender.sources.opcua.decoding import Message, notification_message, publish_result
from edge_sender.sources.opcua.subscribing import Subscriptions
from edge_sender.sources.opcua.subscription import Subscription, SubscriptionLostError
from edge_sender.sources.opcua.together import together
from edge_sender.sources.opcua.walking import Walker

logger = logging.getLogger(__name__)

REQUESTS = 3
"""Publish requests that wait at the server, so that it need not wait for the next one."""


class Publisher:
    """`deliver` is called for each message with content, in the order of its subscription."""

    def __init__(
        self, name: str, subscriptions: Subscriptions, tally: SourceTally, deliver: Callable[[Message], None]
    ) -> None:
        self._name = name
        self._subscriptions = subscriptions
        self._connection: Connection = subscriptions.connection
        self._tally = tally
        self._deliver = deliver
        self._acknowledgements: list[ua.SubscriptionAcknowledgement] = []
        self._in_order = asyncio.Lock()

    async def run(self) -> None:
        """Raises SubscriptionLostError, and what a lost connection or session raises."""
        await together(*(self._publish() for _ in range(REQUESTS)))
        raise SubscriptionLostError("the server accepts no Publish requests")

    async def fill(self) -> None:
        """After an interruption: fetch the messages that were on their way. Raises what `run` raises."""
        for subscription in self._subscriptions.open.values():
            while (message := await self._again(subscription, subscription.numbers.next)) is not None:
                self._received(subscription, message)
        self._subscriptions.listen()

    async def _publish(self) -> None:
        while True:
            try:
                message = await self._next()
            except ua.UaStatusCodeError as error:
                if error.code == ua.StatusCodes.BadTooManyPublishRequests:
                    return  # the others go on
                if error.code == ua.StatusCodes.BadNoSubscription:
                    raise SubscriptionLostError("the server has dropped the subscription") from None
                if error.code != ua.StatusCodes.BadTimeout:
                    raise
            except ValueError as error:  # the gap that it leaves is found at the next message, and counted
                logger.debug("%s: a notification message can't be decoded: %s", self._name, error)
            else:
                async with self._in_order:
                    await self._take(message)

    async def _next(self) -> Message:
        request = ua.PublishRequest()
        request.Parameters.SubscriptionAcknowledgements = self._acknowledgements
        self._acknowledgements = []
        return publish_result(await self._connection.body(request, timeout_seconds=0))

    async def _take(self, message: Message) -> None:
        subscription = self._subscriptions.open.get(message.subscription)
        if subscription is None:  # not one of ours
            self._tally.count("unknown-item", len(message.changes))
            return
        subscription.heard_at = self._subscriptions.monotonic()
        if (gap := subscription.numbers.gap_before(message.number)) is not None:
            found = 0
            for number in gap.numbers():
                if (missing := await self._again(subscription, number)) is not None:
                    self._received(subscription, missing)
                    found += 1
            if lost := gap.size - found:
                self._tally.count("gap", lost)
                logger.warning(
                    "%s: %d notification messages (from number %d on) were lost on the way: the server no longer has them",
                    self._name,
                    lost,
                    gap.first,
                )
            subscription.numbers.next = message.number
        if not message.is_keep_alive:
            self._received(subscription, message)

    def _received(self, subscription: Subscription, message: Message) -> None:
        subscription.numbers.received(message.number)
        self._acknowledgements.append(
            ua.SubscriptionAcknowledgement(SubscriptionId=subscription.id, SequenceNumber=message.number)
        )
        self._deliver(message)

    async def _again(self, subscription: Subscription, number: int) -> Message | None:
        """The message, if the server still has it."""
        request = ua.RepublishRequest()
        request.Parameters.SubscriptionId = subscription.id
        request.Parameters.RetransmitSequenceNumber = number
        try:
            message = notification_message(subscription.id, Walker(await self._connection.body(request)))
        except ValueError:
            return None
        except ua.UaStatusCodeError as error:
            if error.code == ua.StatusCodes.BadSubscriptionIdInvalid:
                raise SubscriptionLostError("the server no longer has the subscription") from None
            if error.code != ua.StatusCodes.BadMessageNotAvailable:
                raise
            return None
        return message if message.number == number and not message.is_keep_alive else None
