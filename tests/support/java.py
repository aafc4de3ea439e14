"""Java, which no package index of Python has: tests that need it are left out where it is missing or too old, in CI too.

The SDK comes from Maven's repository into Maven's own cache, once for all tests; the class path and the compiled program are
kept outside of this tree, under a name that changes with the sources.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import gettempdir

import pytest

PEER = Path(__file__).parents[2] / "tests" / "java"
SOURCE = PEER / "EventHubs.java"
NEEDED = 17
FETCH_SECONDS = 300
RUN_SECONDS = 120
CLASS_PATH = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath"
QUICKLY = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
"""A program that runs for seconds gains nothing from a better compiler."""


@cache
def is_there() -> bool:
    """Whether there are Maven and a JDK that is new enough."""
    compiler = shutil.which("javac")
    if compiler is None or shutil.which("mvn") is None or shutil.which("java") is None:
        return False
    said = subprocess.run([compiler, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r"javac (\d+)", said.stdout + said.stderr)
    return found is not None and int(found[1]) >= NEEDED


def left_out() -> str | None:
    """What is to be said about tests that are left out."""
    return None if is_there() else f"Left out: tests of the Java SDK, which need Java {NEEDED} or newer and Maven."


def run(*arguments: str) -> str:
    """What the program prints. Skips the test where there is no Java."""
    if not is_there():
        pytest.skip("needs Java and Maven")
    folder = _prepared()
    classes = os.pathsep.join((str(folder / "classes"), (folder / "classpath").read_text()))
    return _run("java", *QUICKLY, "-cp", classes, SOURCE.stem, *arguments, seconds=RUN_SECONDS)


def _prepared() -> Path:
    """The folder with the class path and the compiled program, made once however many processes call this."""
    digest = hashlib.sha256((PEER / "pom.xml").read_bytes() + SOURCE.read_bytes()).hexdigest()[:16]
    folder = Path(gettempdir()) / f"dedup-test-peers-java-{digest}"
    with SOURCE.open() as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not (folder / "classes").exists():
            folder.mkdir(mode=0o700, exist_ok=True)
            _run("mvn", "-q", "-B", "-f", str(PEER / "pom.xml"), CLASS_PATH, f"-Dmdep.outputFile={folder / 'classpath'}")
            _run("javac", "-cp", (folder / "classpath").read_text(), "-d", str(folder / "new"), str(SOURCE))
            (folder / "new").rename(folder / "classes")
    return folder


def _run(*command: str, seconds: float = FETCH_SECONDS) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
