"""How far a partition is finished, and which events have been handled before."""

from __future__ import annotations

from dataclasses import dataclass

from dedup_service.core.events import InputEvent
from dedup_service.errors import HubRecreatedError


@dataclass(frozen=True, slots=True)
class Position:
    """The last finished event, or the place where reading begins."""

    sequence_number: int
    offset: str
    """Empty where reading goes on at a time: everything is finished that was enqueued up to `enqueued_ms`."""
    enqueued_ms: int
    """0 where it is not known: a checkpoint holds no time."""

    @property
    def is_a_time(self) -> bool:
        return not self.offset


@dataclass(slots=True)
class Progress:
    """The finished prefix of one partition; batches finish in order, so one position is enough."""

    finished: Position | None = None

    def fresh(self, events: list[InputEvent]) -> list[InputEvent]:
        """The events that are not finished yet: after a reconnect, the SDK delivers some again.

        An event is old only if both its sequence number and its time are at or below the finished ones. A number that went
        back with a newer time belongs to another hub of the same name; skipping by number alone would lose it.
        Raises HubRecreatedError.
        """
        if self.finished is None:
            return events
        return [event for event in events if not self._is_finished(event)]

    def _is_finished(self, event: InputEvent) -> bool:
        finished = self.finished
        assert finished is not None
        if event.sequence_number > finished.sequence_number:
            return False
        if finished.enqueued_ms and event.enqueued_ms > finished.enqueued_ms:
            raise HubRecreatedError(
                f"partition {event.partition_id}: sequence number {event.sequence_number} came after "
                f"{finished.sequence_number}, with a later time: the input hub was recreated"
            )
        return True

    def finish(self, event: InputEvent) -> None:
        """To be called when all readings of this event and those before it are published, dead-lettered, duplicates or
        ignored."""
        self.finished = Position(event.sequence_number, event.offset, event.enqueued_ms)
