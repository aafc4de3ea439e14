"""`edge-sender validate`: whether the sender could run here, before it does; without network, and with it."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from edge_sender import bootstrap
from edge_sender.commands.arguments import seconds
from edge_sender.commands.text import Say, number_of, shown, time_text
from edge_sender.commands.trial import Observed, Trial, observe
from edge_sender.config.opcua import OpcUaConfig
from edge_sender.config.settings import EdgeSettings, SettingsProblems, read
from edge_sender.config.sources import SourceConfig, SourcesDocument
from edge_sender.config.variables import misspelt
from edge_sender.ports import UplinkError

SECONDS = 15.0
MOST_NOTICES = 10


def add_validate(commands: Any) -> None:
    parser = commands.add_parser(
        "validate",
        help="check settings and sources, and with --connect what they lead to",
        description="Checks the settings and the sources as `run` does, with the files and variables that they need, and "
        "says all that is wrong at once. Reaches nothing over a network without --connect. The status is 1 if anything is "
        "wrong.",
    )
    parser.add_argument(
        "--connect",
        action="store_true",
        help="also connect to each source and wait for its first reading, and connect to the uplink; sends nothing",
    )
    parser.add_argument(
        "--seconds", type=seconds, default=SECONDS, help="with --connect: how long to wait for readings (default: 15)"
    )


async def run_validate(arguments: argparse.Namespace, say: Say) -> int:
    """Returns the exit status. Raises SettingsError with all that is wrong."""
    problems = SettingsProblems()
    settings = read(problems)
    sources = await bootstrap.try_out_all(settings, problems)
    for line in misspelt(os.environ):
        say(shown(f"warning: {line}"))
    problems.raise_all()
    for line in _settings_text(settings, sources):
        say(shown(line))
    if not arguments.connect:
        return 0
    results = await asyncio.gather(
        _connect_sources(settings, sources, arguments.seconds, say), _connect_uplink(settings, say)
    )
    return 0 if all(results) else 1


def _settings_text(settings: EdgeSettings, sources: SourcesDocument) -> Iterator[str]:
    yield f"settings: ok (uplink {settings.uplink}, {settings.ha}, spool {settings.spool_path})"
    if settings.twin:
        yield "settings and sources of the twin are not known here; the sender refuses and reports those that are wrong"
    for source in sources.sources:
        yield f"source {source.name}: ok ({source.kind}, identity {source.identity})"


async def _connect_uplink(settings: EdgeSettings, say: Say) -> bool:
    uplink = bootstrap.make_uplink(settings)
    try:
        await uplink.connect()
    except UplinkError as error:
        say(shown(f"uplink {settings.uplink}: FAILED: {' '.join(str(error).split())}"))
        return False
    finally:
        await uplink.close()
    say(f"uplink {settings.uplink}: connected")
    return True


async def _connect_sources(settings: EdgeSettings, sources: SourcesDocument, within: float, say: Say) -> bool:
    """Also each of redundant servers by itself: those that are not read now must answer as well, under the same name."""
    trials = _trials(settings, sources)
    alone = {trial.name: _trials_of_servers(settings, trial.config) for trial in trials}
    everything = [*trials, *chain.from_iterable(alone.values())]
    results = await asyncio.gather(*(_connect_source(trial, within, say) for trial in everything))
    unlike_ones = [trial for trial in trials if not _are_alike(trial, alone[trial.name], say)]
    return all(results) and not unlike_ones


def _trials(settings: EdgeSettings, sources: SourcesDocument) -> list[Trial]:
    observations: asyncio.Queue[Observed] = asyncio.Queue()
    items = bootstrap.make_trials(settings, sources)
    return [Trial(config, item, observations) for config, item in zip(sources.sources, items, strict=True)]


def _trials_of_servers(settings: EdgeSettings, config: SourceConfig) -> list[Trial]:
    """One for each of redundant servers, by itself, so that they are no namesakes; none for a source that has none."""
    if not isinstance(config, OpcUaConfig) or not config.endpoints:
        return []
    servers = (config.only(number) for number in range(len(config.servers)))
    alone = (_trials(settings, SourcesDocument.model_construct(sources=(server,))) for server in servers)
    return list(chain.from_iterable(alone))


def _are_alike(trial: Trial, alone: list[Trial], say: Say) -> bool:
    """The source itself may not have heard of all of its servers in time."""
    why = bootstrap.why_unlike(trial.config, [one.item for one in alone])
    if why is None or trial.problem is not None:
        return True
    say(shown(f"source {trial.name}: FAILED: {why}"))
    return False


async def _connect_source(trial: Trial, within: float, say: Say) -> bool:
    await observe([trial], within, lambda: trial.first is not None, asyncio.Event())
    is_good = trial.problem is None and not (trial.refusals and trial.first is None)
    say(shown(f"source {trial.name}: {'connected' if is_good else 'FAILED'}{_found(trial, within)}"))
    for line in _details(trial):
        say(shown(f"    {line}"))
    return is_good


def _found(trial: Trial, within: float) -> str:
    if trial.problem is not None:
        return f" within {within:g} s: {trial.problem}"
    tally = trial.item.tally
    if trial.config.kind != "opcua" or tally is None:
        return ""
    events = f" and the events of {number_of(tally.notifiers, 'object')}" if tally.notifiers else ""
    return f": {number_of(tally.subscribed, 'variable')}{events}"


def _details(trial: Trial) -> Iterator[str]:
    yield from bootstrap.certificates_of(trial.config)
    if trial.first is not None and trial.first.reading is not None:
        sample, reading = trial.first.sample, trial.first.reading
        yield f"first reading: {time_text(sample.time_ns)}  {reading.attributes['id']}  {sample.source}"
        yield f"    {reading.data.decode()}"
    elif trial.refusals:
        yield f"readings get no id, and would be dropped: {trial.refusals.most_common(1)[0][0]}"
    elif trial.problem is None:
        yield "no reading yet, which is no fault of a source that is silent"
    if trial.skipped:
        yield f"no readings: {', '.join(f'{count:,} {reason}' for reason, count in trial.skipped.items())}"
    yield from islice(trial.notices(), MOST_NOTICES)
