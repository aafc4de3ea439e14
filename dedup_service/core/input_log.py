"""Which log of an input partition a sequence number belongs to."""

from __future__ import annotations

from dataclasses import dataclass

from dedup_service.core.events import Origin

MAX_PARTITIONS = 2048
"""More than any hub has."""
GENERATIONS = 32
"""As many as fit into the 16 bits of an origin's partition; after that they start over."""


@dataclass(frozen=True, slots=True)
class InputLog:
    """One partition of one incarnation of an input hub, in which each sequence number names one event."""

    incarnation: int
    partition: int
    """The partition's number, plus MAX_PARTITIONS for each time that its sequence numbers went back under one incarnation,
    as after a geo-replicated hub has failed over and lost its last events. What was sent of an earlier event is then never
    taken for what was sent of a later one of the same number."""

    @classmethod
    def of(cls, incarnation: int, partition_id: str, generation: int = 0) -> InputLog:
        return cls(incarnation, int(partition_id) + MAX_PARTITIONS * (generation % GENERATIONS))

    @classmethod
    def parse(cls, text: str) -> tuple[InputLog, int]:
        """The log and the sequence number of an `event_text`. Raises ValueError."""
        incarnation, partition, number = text.split("/")
        log, sequence_number = cls(int(incarnation, 16), int(partition)), int(number)
        if log.event_text(sequence_number) != text or log.partition >= 2**16 or not 0 <= sequence_number < 2**64:
            raise ValueError(f"{text!r} names no input event")
        return log, sequence_number

    def origin(self, sequence_number: int, index: int) -> Origin:
        return Origin(self.incarnation, self.partition, sequence_number, index)

    def event_text(self, sequence_number: int) -> str:
        """`incarnation/partition/sequence number`, as clean events name the input event."""
        return f"{self.incarnation:08x}/{self.partition}/{sequence_number}"
