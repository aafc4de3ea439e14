"""What `edge-sender try` prints: a line for each reading, and at the end what became of all of them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from edge_sender.commands.text import as_json, number_of, shown, time_text
from edge_sender.commands.trial import Observed, Trial
from edge_sender.config.sources import SourcesDocument
from wire.ids import Sample
from wire.times import rfc3339

VERSION = 1
"""Of the JSON lines."""
MOST_NOTICES = 20
MOST_REASONS = 3


class Output(Protocol):
    def begin(self, sources: SourcesDocument, at_ns: int) -> Iterator[str]: ...
    def line(self, observed: Observed) -> str: ...
    def end(self, trials: Sequence[Trial], at_ns: int) -> Iterator[str]: ...


class AsText:
    def begin(self, sources: SourcesDocument, at_ns: int) -> Iterator[str]:
        """Nothing stands above the readings."""
        return iter(())

    def line(self, observed: Observed) -> str:
        sample, reading = observed.sample, observed.reading
        time = time_text(sample.time_ns)
        if reading is None:
            return shown(f"{observed.entry}  {time}  DROPPED, no id: {observed.why}")
        return shown(f"{observed.entry}  {time}  {reading.attributes['id']}  {sample.source}  {reading.data.decode()}")

    def end(self, trials: Sequence[Trial], at_ns: int) -> Iterator[str]:
        total = sum(trial.readings for trial in trials)
        yield f"{number_of(total, 'reading')} would have been sent; nothing was"
        for trial in trials:
            counted = f"{number_of(trial.readings, 'reading')} of {number_of(len(trial.uris), 'source')}"
            yield f"  {trial.name} ({trial.config.kind}, identity {trial.config.identity}): {counted}"
            yield from (shown(f"    {text}") for text in _remarks(trial))


def _remarks(trial: Trial) -> Iterator[str]:
    if trial.problem is not None:
        yield f"PROBLEM: {trial.problem}"
    if trial.refusals:
        reasons = "; ".join(f"{why} ({count})" for why, count in trial.refusals.most_common(MOST_REASONS))
        yield f"DROPPED: {trial.refusals.total():,} without an id: {reasons}"
    if trial.skipped:
        yield f"no readings: {', '.join(f'{count:,} {reason}' for reason, count in trial.skipped.items())}"
    notices = list(trial.notices())
    yield from notices[:MOST_NOTICES]
    if len(notices) > MOST_NOTICES:
        yield f"… and {len(notices) - MOST_NOTICES:,} more like this, which --json has"


class AsJsonLines:
    """The first line says what the others are of; then there is one for each reading, and a summary."""

    def begin(self, sources: SourcesDocument, at_ns: int) -> Iterator[str]:
        named = {source.name: {"kind": source.kind, "identity": source.identity} for source in sources.sources}
        yield as_json({"trial": VERSION, "started": rfc3339(at_ns), "sources": named})

    def line(self, observed: Observed) -> str:
        entry, arrived = as_json(observed.entry), as_json(rfc3339(observed.arrived_ns))
        if observed.reading is not None:
            return f'{{"entry":{entry},"arrived":{arrived},"event":{observed.reading.encoded.decode()}}}'
        told = {"entry": observed.entry, "arrived": rfc3339(observed.arrived_ns), "dropped": observed.why}
        return as_json({**told, "event": _event_without_id(observed.sample)})

    def end(self, trials: Sequence[Trial], at_ns: int) -> Iterator[str]:
        yield as_json({"ended": rfc3339(at_ns), "summary": [_summary(trial) for trial in trials]})


def _event_without_id(sample: Sample) -> dict[str, Any]:
    """What can be told of a sample that may be unfit for an event."""
    event: dict[str, Any] = {"source": sample.source}
    if sample.time_ns is not None:
        event["time"] = time_text(sample.time_ns)
    try:
        return {**event, "data": json.loads(json.dumps(sample.data, allow_nan=False))}
    except (ValueError, TypeError, RecursionError) as error:
        return {**event, "data": f"can't be written as JSON: {error!r}"}


def _summary(trial: Trial) -> dict[str, Any]:
    return {
        "name": trial.name,
        "readings": trial.readings,
        "sources": len(trial.uris),
        "dropped": dict(trial.refusals),
        "skipped": trial.skipped,
        "problem": trial.problem,
        "notices": list(trial.notices()),
    }
