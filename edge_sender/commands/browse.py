"""`edge-sender browse`: what an OPC UA server has, as a source would see it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from edge_sender import bootstrap
from edge_sender.commands.arguments import count
from edge_sender.commands.text import Say, number_of, shown, time_text
from edge_sender.config.opcua import OpcUaConfig
from edge_sender.config.settings import SettingsError, load_sources
from edge_sender.config.sources import check_sources
from edge_sender.ports import SourceConfigError
from edge_sender.survey import Asked, Entry, Notifier, Survey, Variable

LIMIT = 200
MOST_VALUE = 60
MOST_ODD = 10
URL = "opc.tcp://"


def add_browse(commands: Any) -> None:
    parser = commands.add_parser(
        "browse",
        help="print the tree of an OPC UA server",
        description="Prints what an OPC UA server has below Objects: names, node ids as `nodes` takes them, and of "
        "variables the data type, value, source time and the sampling interval that the server grants; and which objects "
        "have events. Of a configured source it also says which variables and events are chosen.",
    )
    parser.add_argument(
        "server",
        nargs="?",
        metavar="SERVER",
        help="opc.tcp://HOST:PORT, or the name of a configured source, with whose certificates and user it connects "
        "(default: the only configured OPC UA source)",
    )
    parser.add_argument("--under", metavar="NODE", help="only what is below this: nsu=URI;s=identifier, or /Line 1/Press")
    parser.add_argument("--depth", type=count, metavar="N", help="only N levels (default: all)")
    parser.add_argument(
        "--limit",
        type=count,
        default=LIMIT,
        metavar="N",
        help=f"print N nodes at most, and count the others (default: {LIMIT})",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead, for programs")


async def run_browse(arguments: argparse.Namespace, say: Say) -> int:
    """Returns the exit status. Raises SettingsError and SurveyError."""
    config = _config(arguments.server)
    survey = await bootstrap.look_at(config, Asked(arguments.under, arguments.depth, arguments.limit))
    for line in [as_json(survey)] if arguments.json else as_text(survey):
        say(line)
    return 0


def _config(server: str | None) -> OpcUaConfig:
    """Raises SettingsError."""
    if server is not None and server.startswith(URL):
        return _of_url(server)
    _, document = load_sources()
    found = {source.name: source for source in document.sources if isinstance(source, OpcUaConfig)}
    if server is None and len(found) == 1:
        return next(iter(found.values()))
    if server is None or server not in found:
        names = ", ".join(found) or "none"
        raise SettingsError(f"SERVER: name {URL}HOST:PORT, or one of the configured OPC UA sources, which are: {names}")
    return found[server]


def _of_url(url: str) -> OpcUaConfig:
    """Raises SettingsError."""
    source = {"name": "browse", "kind": "opcua", "endpoint": url, "nodes": {}, "identity": "source-time"}
    try:
        config = check_sources({"sources": [source]}).sources[0]
    except SourceConfigError:
        raise SettingsError(f"SERVER: write {URL}HOST:PORT, without a user") from None
    assert isinstance(config, OpcUaConfig)
    return config


def as_json(survey: Survey) -> str:
    """All on one line, and in ASCII, whatever a server's names contain."""
    return json.dumps(
        {
            "endpoint": survey.endpoint,
            "server_uri": survey.server_uri,
            "away": list(survey.away),
            "nodes": survey.nodes,
            "variables": survey.variables,
            "chosen": survey.chosen,
            "tree": [_entry(entry) for entry in survey.entries],
            "more": survey.more,
            "events": [asdict(notifier) for notifier in survey.notifiers],
            "left_out": survey.odd,
        }
    )


def _entry(entry: Entry) -> dict[str, Any]:
    told = {"level": entry.level, "name": entry.name, "node": entry.node, "hidden": entry.hidden}
    if entry.variable is None:
        return told
    variable = asdict(entry.variable)
    time_ns = variable.pop("time_ns")
    return {**told, **variable, "time": None if time_ns is None else time_text(time_ns)}


def as_text(survey: Survey) -> Iterator[str]:
    counts = f"{number_of(survey.variables, 'variable')} among {number_of(survey.nodes, 'node')}"
    yield from (shown(f"warning: {text}") for text in survey.away)
    yield shown(f"{survey.endpoint}  {survey.server_uri}: {counts}; {survey.chosen:,} chosen")
    for entry in survey.entries:
        yield shown(f"{'  ' * entry.level}{_line(entry)}")
    for notifier in survey.notifiers:
        yield shown(f"events of {notifier.name}  {notifier.node}  {_choice(notifier)}")
    if survey.more:
        yield f"… and {survey.more:,} more: narrow it down with --under or --depth, or raise --limit"
    for name, why in list(survey.odd.items())[:MOST_ODD]:
        yield shown(f"left out: {name}: {why}")
    if len(survey.odd) > MOST_ODD:
        yield f"… and {len(survey.odd) - MOST_ODD:,} more that are left out"


def _choice(notifier: Notifier) -> str:
    if not notifier.is_chosen:
        return "not chosen"
    return "chosen" if notifier.refused is None else f"refused: {notifier.refused}"


def _line(entry: Entry) -> str:
    parts = [entry.name, entry.node]
    if entry.variable is not None:
        parts += _variable(entry.variable)
    if entry.hidden:
        parts.append(f"(+{entry.hidden:,} below)")
    return "  ".join(part for part in parts if part)


def _variable(variable: Variable) -> Iterator[str]:
    yield variable.type
    if variable.unreadable is not None:
        yield f"no value: {variable.unreadable}"
    else:
        yield shown(json.dumps(variable.data, ensure_ascii=False), MOST_VALUE)
        yield time_text(variable.time_ns)
    if not variable.is_chosen:
        yield "not chosen"
    elif variable.granted_ms is None:
        yield f"refused: {variable.refused}"
    elif variable.granted_ms == variable.asked_ms:
        yield f"every {variable.granted_ms:g} ms"
    else:
        yield f"every {variable.granted_ms:g} ms instead of {variable.asked_ms:g}"
