"""What the edge reports about itself: Prometheus metrics and a status, built from the sender's state on request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from edge_sender.buffering.reserve import STATES
from edge_sender.counters import FAIL_OVERS, LOSSES, MOST_LISTED, REASONS, RESTARTS, SKIPS, RestartTally, SourceTally
from edge_sender.election import Role
from edge_sender.identity.check import IdentityCheck
from edge_sender.identity.judging import Problem
from edge_sender.ports import Accountable, Explaining, Placed, Standing
from edge_sender.sender import ConfiguredSource, Sender

MOST_EXAMPLES = 100
"""Sources that the status names at most, of those that could not be judged, and of those with problems."""


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
        skipped = CounterMetricFamily(
            "edge_source_skipped",
            "Lines, messages and notifications that became no readings, by reason.",
            labels=["source", "reason"],
        )
        for item in self._sender.sources:
            for reason, count in _skipped(item).items():
                skipped.add_metric([item.source.name, reason], count)
        yield skipped
        unacknowledged = CounterMetricFamily(
            "edge_source_unacknowledged", "Messages that arrived with QoS 0, by source.", labels=["source"]
        )
        for item in self._sender.sources:
            if isinstance(item.source, Accountable):
                unacknowledged.add_metric([item.source.name], item.source.unacknowledged)
        yield unacknowledged
        dropped = CounterMetricFamily("edge_readings_dropped", "Readings that are gone, by reason.", labels=["reason"])
        for reason in REASONS:
            dropped.add_metric([reason], counters.dropped[reason])
        yield dropped
        restarts = CounterMetricFamily(
            "edge_counter_restarts", "Counters of readings that went back in one epoch.", labels=["source", "reason"]
        )
        for item in self._sender.sources:
            for restart in RESTARTS:
                restarts.add_metric([item.source.name, restart], counters.restarts[item.source.name].counts[restart])
        yield restarts
        lost = CounterMetricFamily(
            "edge_source_losses", "What a source lost before it was a reading, by reason.", labels=["source", "reason"]
        )
        for name, tally in _tallies(self._sender):
            for loss in LOSSES:
                lost.add_metric([name, loss], tally.lost[loss])
        yield lost
        fail_overs = CounterMetricFamily(
            "edge_source_fail_overs",
            "Times a source went on with another of its servers.",
            labels=["source", "reason"],
        )
        for name, tally in _tallies(self._sender):
            for why in FAIL_OVERS:
                fail_overs.add_metric([name, why], tally.fail_overs[why])
        yield fail_overs
        without_time = CounterMetricFamily(
            "edge_source_without_time", "Readings without the time that was chosen for their source.", labels=["source"]
        )
        for name, tally in _tallies(self._sender):
            without_time.add_metric([name], tally.without_time)
        yield without_time
        steps = CounterMetricFamily(
            "edge_source_clock_steps", "Times this gateway's clock was set while it read a source.", labels=["source"]
        )
        for name, tally in _tallies(self._sender):
            steps.add_metric([name], tally.clock_steps)
        yield steps
        yield CounterMetricFamily("edge_readings_sent", "Readings that the hub acknowledged.", counters.sent_readings)
        yield CounterMetricFamily("edge_messages_sent", "Messages that the hub acknowledged.", counters.sent_messages)
        yield CounterMetricFamily("edge_bytes_sent", "Bytes of their bodies.", counters.sent_bytes)
        yield CounterMetricFamily("edge_send_retries", "Sends that were not acknowledged.", counters.retries)
        yield CounterMetricFamily("edge_spool_commits", "Commits to the spool's disk.", counters.commits)
        yield CounterMetricFamily("edge_spool_failures", "Times the spool's disk failed.", counters.spool_failures)
        yield CounterMetricFamily("edge_spool_commit_seconds", "Time that commits took.", counters.commit_seconds)
        yield CounterMetricFamily("edge_clock_steps", "Times the gateway's clock was set.", self._sender.store.clock_steps)
        yield CounterMetricFamily("edge_takeovers", "Times this replica began to send.", counters.takeovers)
        refused = CounterMetricFamily(
            "edge_peer_refused", "Heartbeats that were not believed, by reason.", labels=["reason"]
        )
        for reason, number in (self._sender.company.peers.refused if self._sender.company else {}).items():
            refused.add_metric([reason], number)
        yield refused

    def _states(self) -> Iterator[Metric]:
        sender = self._sender
        yield GaugeMetricFamily("edge_spool_readings", "Readings that wait for the hub.", sender.store.readings)
        yield GaugeMetricFamily("edge_spool_bytes", "Their bytes on disk.", sender.store.size)
        oldest = sender.store.oldest_seconds() or 0.0
        yield GaugeMetricFamily("edge_spool_oldest_seconds", "How long the oldest of them has waited.", oldest)
        yield GaugeMetricFamily(
            "edge_uplink_up", "1 while it is connected and the last send did not fail.", float(sender.delivery.uplink_is_up)
        )
        yield GaugeMetricFamily("edge_spool_up", "1 unless the spool's disk fails.", float(not sender.store.is_failing))
        reserve = GaugeMetricFamily("edge_spool_reserve", "1 for what the spool's reserve is.", labels=["state"])
        for state in STATES:
            reserve.add_metric([state], float(sender.store.reserve == state))
        yield reserve
        up = GaugeMetricFamily("edge_source_up", "1 while the source can deliver.", labels=["source"])
        problems = GaugeMetricFamily(
            "edge_identity_problems", "Sources whose identity does not suit them, by problem.", labels=["source", "problem"]
        )
        judged = GaugeMetricFamily(
            "edge_identity_judged", "Sources of which the last check could tell whether copies match.", labels=["source"]
        )
        variables = GaugeMetricFamily(
            "edge_source_variables", "Variables by whether they are subscribed to.", labels=["source", "state"]
        )
        offsets = GaugeMetricFamily(
            "edge_source_clock_offset_seconds", "By how much a server's clock is ahead of this gateway's.", labels=["source"]
        )
        revised = GaugeMetricFamily(
            "edge_source_revised", "How often a server granted another value than asked for.", labels=["source", "parameter"]
        )
        notifiers = GaugeMetricFamily(
            "edge_source_notifiers", "Objects of an OPC UA server whose events are subscribed to.", labels=["source"]
        )
        for source, tally in _tallies(sender):
            notifiers.add_metric([source], tally.notifiers)
            variables.add_metric([source, "subscribed"], tally.subscribed)
            variables.add_metric([source, "left-out"], len(tally.left_out))
            if tally.clock_offset_seconds is not None:
                offsets.add_metric([source], tally.clock_offset_seconds)
            for parameter, number in _by_parameter(tally).items():
                revised.add_metric([source, parameter], number)
        for item in sender.sources:
            up.add_metric([item.source.name], float(sender.is_up(item)))
            verdicts = [] if item.check is None else item.check.verdicts
            for problem in Problem if verdicts else ():
                count = sum(finding.problem is problem for verdict in verdicts for finding in verdict.findings)
                problems.add_metric([item.source.name, problem], count)
            if item.check is not None:
                judged.add_metric([item.source.name], sum(verdict.unjudged is None for verdict in verdicts))
        yield up
        yield variables
        yield notifiers
        yield offsets
        yield revised
        yield problems
        yield judged
        role = GaugeMetricFamily("edge_role", "1 for the role that this replica has.", labels=["role"])
        for name in Role:
            role.add_metric([name], float(sender.role is name))
        yield role
        yield GaugeMetricFamily("edge_peers_heard", "Peers whose heartbeats are heard.", len(heard(sender)))
        alarms = 0 if sender.company is None else sender.company.turns.false_alarms
        yield GaugeMetricFamily("edge_peer_false_alarms", "Times in a row that a sender was missed in vain.", alarms)


def heard(sender: Sender) -> list[Standing]:
    return [] if sender.company is None else sender.company.heard


def make_registry(sender: Sender) -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(SenderCollector(sender))
    return registry


def problems(sender: Sender) -> list[str]:
    """The reasons why this replica can't do its work at the moment."""
    reasons = [
        f"the source {item.source.name} is down{_why(sender, item)}" for item in sender.sources if not sender.is_up(item)
    ]
    if not sender.sources:
        reasons.append("there are no sources yet; the twin must supply them")
    if not sender.delivery.uplink_is_up:
        reasons.append("the uplink is down; readings are kept")
    if sender.store.is_failing:
        reasons.append(f"the spool's disk is failing; readings are kept in memory: {sender.store.problem}")
    if sender.company is not None and sender.company.peers.problem is not None:
        reasons.append(sender.company.peers.problem)
    return reasons


def _why(sender: Sender, item: ConfiguredSource) -> str:
    problem = _problem(sender, item)
    return f": {problem}" if problem else ""


def _problem(sender: Sender, item: ConfiguredSource) -> str | None:
    failure = sender.failure(item)
    return failure if failure is not None else item.source.problem if isinstance(item.source, Explaining) else None


def _skipped(item: ConfiguredSource) -> Mapping[str, int]:
    if item.tally is not None:
        return {reason: item.tally.skipped[reason] for reason in SKIPS}
    return item.source.skipped if isinstance(item.source, Accountable) else {}


def status(sender: Sender) -> dict[str, Any]:
    counters, oldest = sender.counters, sender.store.oldest_seconds()
    known = {item.name for item in sender.sources}
    return {
        "role": sender.role,
        "problems": problems(sender),
        "sources": [
            {
                "name": item.source.name,
                "up": sender.is_up(item),
                "problem": _problem(sender, item),
                "notice": item.source.notice if isinstance(item.source, Explaining) else None,
                "place": item.source.place if isinstance(item.source, Placed) else None,
                "readings": counters.readings[item.source.name],
                "skipped": dict(_skipped(item)),
                "identity": _identity(item.check),
                "counter_restarts": _restarts(counters.restarts[item.source.name]),
                **({} if item.tally is None else _tally(item.tally)),
            }
            for item in sender.sources
        ],
        "spool": {
            "readings": sender.store.readings,
            "bytes": sender.store.size,
            "oldest_seconds": None if oldest is None else round(oldest, 1),
            "problem": sender.store.problem,
            "reserve": sender.store.reserve,
        },
        "sent": {"readings": counters.sent_readings, "messages": counters.sent_messages, "retries": counters.retries},
        "dropped": {reason: counters.dropped[reason] for reason in REASONS},
        "takeovers": counters.takeovers,
        "clock_steps": sender.store.clock_steps,
        "peers": {
            peer.name: {"sends": peer.is_sender, "fit": peer.is_fit, "lacks": sorted(known - peer.reads)}
            for peer in heard(sender)
        },
    }


def _tallies(sender: Sender) -> Iterator[tuple[str, SourceTally]]:
    return ((item.source.name, item.tally) for item in sender.sources if item.tally is not None)


def _tally(tally: SourceTally) -> dict[str, Any]:
    return {
        "variables": {"subscribed": tally.subscribed, "left_out": len(tally.left_out)},
        "notifiers": tally.notifiers,
        "left_out": dict(islice(tally.left_out.items(), MOST_LISTED)),
        "revised": tally.revised,
        "fail_overs": {reason: tally.fail_overs[reason] for reason in FAIL_OVERS},
        "without_time": tally.without_time,
        "lost": {reason: tally.lost[reason] for reason in LOSSES},
        "troubled": tally.troubled,
        "clock": {"offset_seconds": tally.clock_offset_seconds, "steps": tally.clock_steps},
    }


def _restarts(tally: RestartTally) -> dict[str, Any]:
    return {**{reason: tally.counts[reason] for reason in RESTARTS}, "sources": tally.listed}


def _by_parameter(tally: SourceTally) -> Counter[str]:
    counts: Counter[str] = Counter()
    for what, number in tally.revised.items():
        counts[what.partition(" ")[0]] += number
    return counts


def _identity(check: IdentityCheck | None) -> dict[str, Any] | None:
    """What the last check found; None where there is none."""
    if check is None:
        return None
    unjudged = [{"source": item.uri, "why": item.unjudged} for item in check.verdicts if item.unjudged is not None]
    problems = [
        {"source": item.uri, "strategy": item.strategy, "problem": finding.problem, "text": finding.text}
        for item in check.verdicts
        for finding in item.findings
    ]
    return {
        "judged": len(check.verdicts) - len(unjudged),
        "unjudged": len(unjudged),
        "unjudged_why": check.unjudged,
        "unjudged_sources": unjudged[:MOST_EXAMPLES],
        "problems": problems[:MOST_EXAMPLES],
    }
