"""What a reading costs in each sender's format, beside CloudEvents batches of as many readings."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from benchmarks.draining import drain
from benchmarks.events import Load, input_log
from benchmarks.results import Section, at_most
from benchmarks.rounds import Round, alternate
from benchmarks.senders import SENDERS
from benchmarks.stage import running_valkey

LOAD = Load(150_000, batch=20)
CLOUDEVENTS, PUBSUB, SAMPLES = "cloudevents", "opc-publisher, PubSub", "opc-publisher, Samples"


async def formats(rounds: int) -> Section:
    section = Section(
        "Formats, three copies of each reading in events of 20, accounting on",
        "CPU per copy in the steady part of a drain, medians. Batches of different replicas have different boundaries, so "
        "that duplicates are cut out of many events.",
        ["", "CPU µs", "÷ cloudevents", "Redis µs", "bytes an event"],
    )
    with running_valkey() as redis, tempfile.TemporaryDirectory() as folder:
        logs = {CLOUDEVENTS: input_log(LOAD)}
        configurations: dict[str, Round] = {CLOUDEVENTS: partial(drain, logs[CLOUDEVENTS], redis)}
        for name, (write, settings) in SENDERS.items():
            logs[name] = input_log(LOAD, write)
            path = str(groups_file(Path(folder), name, settings))
            configurations[name] = partial(drain, logs[name], redis, DEDUP_CONFIG_FILE=path)
        results = await alternate(configurations, LOAD.copies / sum(map(len, logs[CLOUDEVENTS].values())), rounds)
    base = results[CLOUDEVENTS].cpu_us()
    for name, measured in results.items():
        size = len(logs[name]["0"][-1].message)
        section.rows.append([name, measured.cpu_us(), measured.cpu_us() / base, measured.redis_cpu_us(), size])
    for name in (PUBSUB, SAMPLES):
        section.targets.append(at_most(f"{name}: CPU a copy ÷ cloudevents batches", 2.0, results[name].cpu_us() / base))
    return section


def groups_file(folder: Path, name: str, settings: dict[str, Any]) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "default", **settings}]}))
    return path
