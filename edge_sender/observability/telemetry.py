"""What the edge reports about itself: Prometheus metrics and a status, built from the sender's state on request."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from edge_sender.counters import LOSSES, MOST_LISTED, REASONS, SKIPS, SourceTally
from edge_sender.election import Role
from edge_sender.identity.determinism import Problem
from edge_sender.sender import Sender


class SenderCollector(Collector):
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def collect(self) -> Iterator[Metric]:
        yield from self._counts()
        yield from self._states()

    def _counts(self) -> Iterator[Metric]:
        counters = self._sender.counters
        readings = CounterMetricFamily("edge_readings", "Readings that got an id, by source.", labels=["source"])
        for item in self._sender.sources:
            readings.add_metric([item.source.name], counters.readings[item.source.name])
        yield readings
        dropped = CounterMetricFamily("edge_readings_dropped", "Readings that are gone, by reason.", labels=["reason"])
        for reason in REASONS:
            dropped.add_metric([reason], counters.dropped[reason])
        yield dropped
        lost = CounterMetricFamily(
            "edge_source_losses", "What a source lost before it was a reading, by reason.", labels=["source", "reason"]
        )
        skipped = CounterMetricFamily(
            "edge_source_skipped", "Notifications that are no new readings, by reason.", labels=["source", "reason"]
        )
        for name, tally in _tallies(self._sender):
            for loss in LOSSES:
                lost.add_metric([name, loss], tally.lost[loss])
            for skip in SKIPS:
                skipped.add_metric([name, skip], tally.skipped[skip])
        yield lost
        yield skipped
        yield CounterMetricFamily("edge_readings_sent", "Readings that the hub acknowledged.", counters.sent_readings)
        yield CounterMetricFamily("edge_messages_sent", "Messages that the hub acknowledged.", counters.sent_messages)
        yield CounterMetricFamily("edge_bytes_sent", "Bytes of their bodies.", counters.sent_bytes)
        yield CounterMetricFamily("edge_send_retries", "Sends that were not acknowledged.", counters.retries)
        yield CounterMetricFamily("edge_spool_commits", "Commits to the spool's disk.", counters.commits)
        yield CounterMetricFamily("edge_spool_failures", "Times the spool's disk failed.", counters.spool_failures)
        yield CounterMetricFamily("edge_takeovers", "Times this replica began to send.", counters.takeovers)

    def _states(self) -> Iterator[Metric]:
        sender = self._sender
        yield GaugeMetricFamily("edge_spool_readings", "Readings that wait for the hub.", sender.store.readings)
        yield GaugeMetricFamily("edge_spool_bytes", "Their bytes on disk.", sender.store.bytes)
        yield GaugeMetricFamily("edge_uplink_up", "1 unless the last send failed.", float(sender.delivery.uplink_is_up))
        yield GaugeMetricFamily("edge_spool_up", "1 unless the spool's disk fails.", float(not sender.store.is_failing))
        up = GaugeMetricFamily("edge_source_up", "1 while the source can deliver.", labels=["source"])
        problems = GaugeMetricFamily(
            "edge_identity_problems", "Sources whose identity does not suit them, by problem.", labels=["source", "problem"]
        )
        variables = GaugeMetricFamily(
            "edge_source_variables", "Variables by whether they are subscribed to.", labels=["source", "state"]
        )
        revised = GaugeMetricFamily(
            "edge_source_revised", "How often a server granted another value than asked for.", labels=["source", "parameter"]
        )
        for source, tally in _tallies(sender):
            variables.add_metric([source, "subscribed"], tally.subscribed)
            variables.add_metric([source, "left-out"], len(tally.left_out))
            for parameter, number in _by_parameter(tally).items():
                revised.add_metric([source, parameter], number)
        for item in sender.sources:
            up.add_metric([item.source.name], float(item.source.is_up))
            findings = None if item.check is None else item.check.findings
            for problem in Problem if findings is not None else ():
                count = sum(finding.problem is problem for finding in findings or ())
                problems.add_metric([item.source.name, problem], count)
        yield up
        yield variables
        yield revised
        yield problems
        role = GaugeMetricFamily("edge_role", "1 for the role that this replica has.", labels=["role"])
        for name in Role:
            role.add_metric([name], float(sender.role is name))
        yield role


def make_registry(sender: Sender) -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(SenderCollector(sender))
    return registry


def problems(sender: Sender) -> list[str]:
    """The reasons why this replica can't do its work at the moment."""
    reasons = [f"the source {item.source.name} is down" for item in sender.sources if not item.source.is_up]
    if not sender.sources:
        reasons.append("there are no sources yet; the twin must supply them")
    if not sender.delivery.uplink_is_up:
        reasons.append("the uplink is down; readings are kept")
    if sender.store.is_failing:
        reasons.append("the spool's disk is failing; readings are kept in memory")
    return reasons


def status(sender: Sender, oldest_at: float | None) -> dict[str, Any]:
    counters = sender.counters
    return {
        "role": sender.role,
        "problems": problems(sender),
        "sources": [
            {
                "name": item.source.name,
                "up": item.source.is_up,
                "readings": counters.readings[item.source.name],
                "identity": _identity(item.check),
                **({} if item.tally is None else _tally(item.tally)),
            }
            for item in sender.sources
        ],
        "spool": {
            "readings": sender.store.readings,
            "bytes": sender.store.bytes,
            "oldest_seconds": None if oldest_at is None else round(max(0.0, time.time() - oldest_at), 1),
        },
        "sent": {"readings": counters.sent_readings, "messages": counters.sent_messages, "retries": counters.retries},
        "dropped": {reason: counters.dropped[reason] for reason in REASONS},
        "takeovers": counters.takeovers,
    }


def _tallies(sender: Sender) -> Iterator[tuple[str, SourceTally]]:
    return ((item.source.name, item.tally) for item in sender.sources if item.tally is not None)


def _tally(tally: SourceTally) -> dict[str, Any]:
    return {
        "variables": {"subscribed": tally.subscribed, "left_out": len(tally.left_out)},
        "left_out": dict(islice(tally.left_out.items(), MOST_LISTED)),
        "revised": tally.revised,
        "lost": {reason: tally.lost[reason] for reason in LOSSES},
        "skipped": {reason: tally.skipped[reason] for reason in SKIPS},
        "troubled": tally.troubled,
    }


def _by_parameter(tally: SourceTally) -> Counter[str]:
    counts: Counter[str] = Counter()
    for what, number in tally.revised.items():
        counts[what.partition(" ")[0]] += number
    return counts


def _identity(check: Any) -> Any:
    """None if not checked (yet), otherwise the problems that were found."""
    if check is None or check.findings is None:
        return None
    return [{"source": f.uri, "strategy": f.strategy, "problem": f.problem, "text": f.text} for f in check.findings]
