"""What a clean event says about the readings that were published with it: enough to claim them again.

The key needs the reading's source and id, which are in the clean event as they were in the input event, and the group, which
follows from the sender. The origin is in properties that a device can't forge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from dedup_service.core.claims import NO_CONTENT, key_digests, restored_claims
from dedup_service.core.events import DEVICE_ID, Extraction, InputEvent, Origin, Reading
from dedup_service.core.extract import JSON_ERRORS
from dedup_service.core.groups import Group, Groups
from dedup_service.core.incarnations import Incarnations
from dedup_service.core.input_log import InputLog
from dedup_service.core.outgoing import (
    DEPLOYMENT_PROPERTY,
    DUPLICATE_PROPERTY,
    INDEXES_PROPERTY,
    KEPT_ANNOTATIONS,
    ORIGIN_PROPERTY,
)
from dedup_service.core.resolve import indexes_of
from dedup_service.core.structured import OWN_PREFIX
from dedup_service.errors import Dependency, DependencyKind, UnavailableError, UndeliverableError
from dedup_service.ports.claims import Extractor
from wire.cloudevents import BATCH_CONTENT_TYPE

DEVICE_MEMBER = f'"{OWN_PREFIX}device"'.encode()
"""In every event that was published in structured mode."""


class _OwnMembers(msgspec.Struct, gc=False):
    dedupdevice: str


_decode_own_members = msgspec.json.Decoder(list[_OwnMembers]).decode


@dataclass(frozen=True, slots=True)
class Published:
    """The readings of one clean event."""

    group: Group
    replica: str
    """Who delivered them."""
    event: Origin
    indexes: Sequence[int]
    """Those of the readings in the input event."""
    readings: Sequence[Reading]
    contents: Sequence[bytes]
    enqueued_ms: int
    """When the clean event was enqueued."""

    def keys(self) -> list[bytes]:
        return key_digests(self.group.claim_scope, self.readings)

    def claims(self, replica: int) -> list[bytes]:
        """`replica`: its number in the group."""
        return restored_claims(self.event, self.indexes, self.contents, replica, self.enqueued_ms)


class UnknownReadingsError(Exception):
    """A clean event has readings of this service, but it can't be told which."""


@dataclass(frozen=True, slots=True)
class PublishedReader:
    groups: Mapping[str, Groups]
    """By input: the formats of groups may be those of the input."""
    incarnations: Incarnations
    extractor: Extractor
    """Reads CloudEvents."""
    deployment: str
    """See OutputPolicy."""

    def read(self, clean: InputEvent) -> Published | None:
        """None for what holds no winners of this deployment: what others sent, marked duplicates, and what is no reading.

        A clean hub may be that of several deployments, whose readings may have the same keys. What this one has published
        names it, or came from one of its inputs.

        Raises UnknownReadingsError; UnavailableError where it may have come from an input that this pod has not reached yet.
        """
        origin, indexes = _origin(clean)
        if origin is None or not indexes:
            return None
        name, deployment = (
            self.incarnations.input_of(origin.incarnation),
            clean.application_properties.get(DEPLOYMENT_PROPERTY),
        )
        if name is None and deployment != self.deployment:
            if deployment is None:
                self._require_all_inputs()
            return None
        event, problem = _as_it_came(clean), UnknownReadingsError("there is no input")
        for groups in self.groups.values() if name is None else [self.groups[name]]:
            try:
                return self._read(event, groups, origin, indexes)
            except UnknownReadingsError as error:
                problem = error
        raise problem

    def _require_all_inputs(self) -> None:
        """For events that do not name their deployment, as this service wrote them before."""
        if not self.incarnations.live():
            problem = "not reached yet, and so it can't be told which events of the clean stream came from it"
            raise UnavailableError(Dependency(DependencyKind.INPUT_HUB), problem)

    def _read(self, event: InputEvent, groups: Groups, origin: Origin, indexes: Sequence[int]) -> Published:
        replica = _replica_of(event)
        group = groups.of_replica(replica)
        if group is None:
            raise UnknownReadingsError(f"its sender {replica} is in no group")
        extraction = self._extract(event, group)
        readings = extraction.readings
        if len(readings) != len(indexes) or extraction.bad:
            raise UnknownReadingsError(f"it holds {len(readings)} readings, and was sent with {len(indexes)}")
        return Published(group, replica, origin, indexes, readings, _contents(extraction, event), event.enqueued_ms)

    def _extract(self, event: InputEvent, group: Group) -> Extraction:
        """Whatever a group's format is, what was published in structured mode are CloudEvents."""
        own = self.extractor if group.extractor is None or _is_structured(event) else group.extractor
        try:
            return own.extract(event, group.content)
        except UndeliverableError as error:
            raise UnknownReadingsError(str(error)) from None


def _origin(clean: InputEvent) -> tuple[Origin | None, list[int]]:
    properties = clean.application_properties
    text, indexes = properties.get(ORIGIN_PROPERTY), properties.get(INDEXES_PROPERTY)
    if not isinstance(text, str) or not isinstance(indexes, str) or properties.get(DUPLICATE_PROPERTY):
        return None, []
    try:
        log, number = InputLog.parse(text)
    except ValueError:
        return None, []
    return log.origin(number, 0), list(indexes_of(indexes))


def _as_it_came(clean: InputEvent) -> InputEvent:
    """With the annotations that were made properties when it was published."""
    properties = clean.application_properties
    kept = {name: properties[name] for name in KEPT_ANNOTATIONS if name in properties}
    return msgspec.structs.replace(clean, annotations={**clean.annotations, **kept})


def _replica_of(event: InputEvent) -> str:
    """A structured event has the sender's properties in its body. Where these said who the sender is, so does the body."""
    if DEVICE_ID in event.annotations or not _is_structured(event):
        return event.replica
    try:
        return _decode_own_members(event.body)[0].dedupdevice
    except (*JSON_ERRORS, IndexError):
        raise UnknownReadingsError("it does not say who sent it") from None


def _is_structured(event: InputEvent) -> bool:
    return event.content_type == BATCH_CONTENT_TYPE and DEVICE_MEMBER in event.body


def _contents(extraction: Extraction, event: InputEvent) -> list[bytes]:
    """The hashes by which copies are compared. A structured event may have the data in another form than its copies have."""
    if _is_structured(event):
        return [NO_CONTENT] * len(extraction.readings)
    return [reading.content_hash for reading in extraction.readings]
