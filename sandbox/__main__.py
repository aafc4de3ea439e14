"""`sandbox`: everything needed to run the whole system on one machine, without Azure."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.hub.log import DEFAULT_RETENTION_SECONDS
from sandbox.plant.sources import MACHINES
from wire.cancellation import keep_cancellations

if TYPE_CHECKING:
    from sandbox.hub.mqtt_face.routes import Route
    from sandbox.hub.throttling import IotHubUnits

MAX_UNITS = 200
"""As many units as an IoT hub may have; a namespace has at most 40."""


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sandbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_hub(commands.add_parser("hub", help="the stand-in for IoT Hub and Event Hubs"))
    _add_plant(commands.add_parser("plant", help="an OPC UA server whose machines emit readings"))
    _add_demo(commands.add_parser("demo", help="the whole chain on this machine, with an audit at the end"))
    _add_drill(commands.add_parser("drill", help="measure patterns of high availability under real faults"))
    _add_chaos(commands.add_parser("chaos", help="kill services at random under load and audit the result"))
    return parser


def main() -> None:
    keep_cancellations()
    arguments = make_parser().parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for noisy in ("asyncua", "azure"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    raise SystemExit(asyncio.run(arguments.run(arguments)))


def _add_hub(parser: argparse.ArgumentParser) -> None:
    parser.description = "Prints one JSON line with its connection strings when it is ready."
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--amqp-port", type=int, default=5672, help="0 picks a free port (default: %(default)s)")
    parser.add_argument("--amqps-port", type=int, help="AMQP over TLS, as on Azure's 5671")
    parser.add_argument("--websocket-port", type=int, help="AMQP and MQTT over WebSocket, with TLS, as on Azure's 443")
    parser.add_argument("--control-port", type=int, help="the control API (HTTP)")
    parser.add_argument("--mqtt-port", type=int, default=8883, help="-1 disables MQTT (default: %(default)s)")
    parser.add_argument(
        "--hub", action="append", metavar="NAME:PARTITIONS", help="default: telemetry:4 clean:4 dead-letter:1"
    )
    parser.add_argument("--consumer-group", action="append", metavar="NAME", help="created on every hub (default: dedup)")
    parser.add_argument(
        "--device", action="append", default=[], metavar="DEVICE[/MODULE]", help="an identity of the IoT Hub"
    )
    parser.add_argument(
        "--x509-device",
        action="append",
        default=[],
        type=_named_pem,
        metavar="DEVICE[/MODULE][=FILE]",
        help="an identity that logs in by the certificate in FILE (PEM), or by one of --device-authority that has its name",
    )
    parser.add_argument(
        "--device-authority", action="append", default=[], type=_pem, metavar="FILE", help="signs certificates of devices"
    )
    parser.add_argument(
        "--enrollment",
        action="append",
        default=[],
        type=_named_pem,
        metavar="ID[=FILE]",
        help="an individual enrollment of the provisioning service, with a key, or the certificate in FILE (PEM)",
    )
    parser.add_argument(
        "--enrollment-group",
        action="append",
        default=[],
        type=_named_pem,
        metavar="NAME[=FILE]",
        help="an enrollment group, with a key, or for certificates of the authority in FILE (PEM)",
    )
    parser.add_argument(
        "--route",
        action="append",
        default=[],
        type=_route,
        metavar="ROUTE",
        help="of each device's edgeHub, such as 'FROM /messages/modules/publisher/* INTO "
        'BrokeredEndpoint("/modules/edge-sender/inputs/plant")\' (default: all messages of modules go to the hub)',
    )
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        type=_policy,
        metavar="NAME:RIGHTS",
        help="further access policy, such as reader:Listen or both:Listen,Send; it has the same key",
    )
    parser.add_argument("--retention-seconds", type=float, default=DEFAULT_RETENTION_SECONDS)
    parser.add_argument("--advertise", metavar="HOST", help="host name for clients (default: --host)")
    parser.add_argument("--also-at", action="append", default=[], metavar="ADDRESS", help="further address for clients")
    parser.add_argument("--ca-file", type=Path, help="file to write its certificate authority to")
    parser.add_argument(
        "--entra-key", type=Path, metavar="FILE", help="RSA public key (PEM) or secret that verifies tokens of Entra ID"
    )
    parser.add_argument(
        "--throughput-units", type=_units, metavar="N", help="throttle the hubs as a namespace of N throughput units"
    )
    parser.add_argument(
        "--iot-hub-units", type=_iot_hub_units, metavar="TIER:N", help="throttle devices as an IoT hub, such as S1:1"
    )
    parser.epilog = (
        "SIGUSR1 restarts it and keeps its log. The environment variable SANDBOX_KEY sets the key of its access policy "
        "(default: a new one)."
    )
    parser.set_defaults(run=_run_hub)


def _route(text: str) -> Route:
    from sandbox.hub.mqtt_face.routes import parse_route

    try:
        return parse_route(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _named_pem(text: str) -> tuple[str, bytes | None]:
    name, equals, path = text.partition("=")
    return name, _pem(path) if equals else None


def _pem(path: str) -> bytes:
    """The certificates in a file."""
    from sandbox.hub.certificates import thumbprints

    try:
        content = Path(path).read_bytes()
        thumbprints(content)
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{path} can't be read as PEM certificates ({error})") from None
    return content


def _policy(text: str) -> tuple[str, frozenset[str]]:
    from sandbox.hub.namespace import RIGHTS

    name, _, rights = text.partition(":")
    named = frozenset(rights.split(","))
    if not name or not named <= RIGHTS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a name and rights out of {', '.join(sorted(RIGHTS))}")
    return name, named


def _units(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_UNITS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of units from 1 to {MAX_UNITS}")
    return int(text)


def _iot_hub_units(text: str) -> IotHubUnits:
    from sandbox.hub.throttling import TIERS, IotHubUnits

    tier, _, units = text.partition(":")
    if tier not in TIERS:
        raise argparse.ArgumentTypeError(f"{tier!r} is none of {', '.join(TIERS)}")
    return IotHubUnits.of(tier, _units(units or "1"))


def _add_plant(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4840)
    parser.add_argument("--journal", type=Path, help="file for the emitted readings, one JSON object per line")
    parser.add_argument(
        "--stamp-per-subscription",
        action="store_true",
        help="give every subscriber its own source timestamps, as some servers do",
    )
    parser.add_argument(
        "--sample-per-subscription",
        action="store_true",
        help="give every subscriber its own source timestamps and values, as servers do that sample for each",
    )
    parser.add_argument(
        "--drop-out-seconds",
        type=float,
        default=0.0,
        metavar="N",
        help="every N seconds, each machine has a bad status and no value for a second (default: never)",
    )
    parser.add_argument("--second-port", type=int, metavar="PORT", help="a redundant server of the same machines")
    parser.epilog = "SIGUSR1 takes the first server away for 10 seconds, with its sessions; the machines go on."
    parser.add_argument("--machines", type=int, default=MACHINES, help="default: %(default)s")
    parser.add_argument(
        "--wait-for-subscribers", type=int, default=0, metavar="N", help="emit once N clients have subscribed"
    )
    parser.add_argument("--linger-seconds", type=float, default=1.0, help="keep serving after the machines stop")
    parser.set_defaults(run=_run_plant)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, help="how long the machines run (default: until Ctrl-C)")
    parser.add_argument("--summary", type=Path, help="file for the audit's figures, as JSON")
    parser.set_defaults(run=_run_demo)


async def _run_demo(arguments: argparse.Namespace) -> int:
    from sandbox.demo.demo import DemoOptions, run

    return await run(DemoOptions(arguments.seconds, arguments.summary))


def _add_chaos(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--redis-restarts", type=int, default=0, help="number of times Valkey is restarted empty")
    parser.add_argument(
        "--redis-failovers",
        type=int,
        default=0,
        help="number of times a replica takes over that lacks the last acknowledged writes",
    )
    parser.add_argument("--rate", type=float, default=60.0, help="readings per second (each is sent three times)")
    parser.add_argument("--late-seconds", type=float, default=20.0, help="delay of the last replica")
    parser.add_argument(
        "--cut-seconds",
        type=float,
        default=30.0,
        help="how long a service is cut off from the input hub, twice; 0: never (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--summary", type=Path, help="file for the figures, as JSON")
    parser.set_defaults(run=_run_chaos)


async def _run_chaos(arguments: argparse.Namespace) -> int:
    from sandbox.chaos.chaos import ChaosOptions, run

    return await run(
        ChaosOptions(
            kills=arguments.kills,
            seed=arguments.seed,
            rate=arguments.rate,
            late_seconds=arguments.late_seconds,
            redis_restarts=arguments.redis_restarts,
            redis_failovers=arguments.redis_failovers,
            cut_seconds=arguments.cut_seconds,
            summary=arguments.summary,
        )
    )


def _add_drill(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--summary", type=Path, help="file for the figures, as JSON")
    parser.add_argument("--chart", type=Path, help="file for the chart, SVG or PNG")
    parser.add_argument(
        "--scale",
        type=float,
        default=20.0,
        help="factor by which modelled delays are shortened (default: %(default)s)",
    )
    parser.add_argument(
        "--pattern", action="append", metavar="NAME", help="only these patterns, such as dup2 or apo (default: all)"
    )
    parser.add_argument("--fault", action="append", metavar="NAME", help="only these faults, such as power (default: all)")
    parser.set_defaults(run=_run_drill)


async def _run_drill(arguments: argparse.Namespace) -> int:
    from sandbox.drill.drill import DrillOptions, run
    from sandbox.drill.patterns import FAULTS, PATTERNS, chosen, shortest_scale
    from sandbox.peers.node import NodePackagesError

    try:
        patterns, faults = chosen(PATTERNS, arguments.pattern), chosen(FAULTS, arguments.fault)
    except LookupError as error:
        raise SystemExit(f"sandbox drill: {error.args[0]}") from None
    if arguments.scale < max(1.0, shortest := shortest_scale(patterns, faults)):
        raise SystemExit(f"sandbox drill: --scale {arguments.scale:g}: must be at least {max(1.0, shortest):.0f} here")
    try:
        return await run(DrillOptions(arguments.scale, arguments.summary, arguments.chart, patterns, faults))
    except NodePackagesError as error:
        raise SystemExit(f"sandbox drill: {error}") from None


async def _until_stopped(work: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await work(stop)
    return 0


async def _run_hub(arguments: argparse.Namespace) -> int:
    from sandbox.hub.stand_in import HubOptions, run

    hubs = arguments.hub or ["telemetry:4", "clean:4", "dead-letter:1"]
    options = HubOptions(
        host=arguments.host,
        amqp_port=arguments.amqp_port,
        amqps_port=arguments.amqps_port,
        websocket_port=arguments.websocket_port,
        mqtt_port=None if arguments.mqtt_port < 0 else arguments.mqtt_port,
        control_port=arguments.control_port,
        hubs={name: int(count or 1) for name, _, count in (hub.partition(":") for hub in hubs)},
        consumer_groups=tuple(arguments.consumer_group or ["dedup"]),
        devices=tuple(arguments.device),
        x509_devices=tuple(arguments.x509_device),
        authorities=tuple(arguments.device_authority),
        enrollments=tuple(arguments.enrollment),
        enrollment_groups=tuple(arguments.enrollment_group),
        routes=tuple(arguments.route),
        policies=dict(arguments.policy),
        retention_seconds=arguments.retention_seconds,
        advertise=arguments.advertise,
        key=os.environ.get("SANDBOX_KEY"),
        ca_file=arguments.ca_file,
        also_at=tuple(arguments.also_at),
        entra_key=arguments.entra_key.read_bytes().strip() if arguments.entra_key else None,
        throughput_units=arguments.throughput_units,
        iot_hub_units=arguments.iot_hub_units,
    )
    return await _until_stopped(lambda stop: run(options, stop))


async def _run_plant(arguments: argparse.Namespace) -> int:
    from sandbox.plant.server import PlantOptions, run
    from sandbox.plant.stamping import Stamping

    is_stamped = arguments.stamp_per_subscription or arguments.sample_per_subscription
    options = PlantOptions(
        host=arguments.host,
        port=arguments.port,
        journal=arguments.journal,
        stamping=Stamping(samples=arguments.sample_per_subscription) if is_stamped else None,
        wait_for_subscribers=arguments.wait_for_subscribers,
        machines=arguments.machines,
        second_port=arguments.second_port,
        drop_out_seconds=arguments.drop_out_seconds,
    )
    return await _until_stopped(lambda stop: run(options, stop, arguments.linger_seconds))


if __name__ == "__main__":
    main()
