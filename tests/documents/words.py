"""Checks a command word by word against what it names, without running it: for clouds, and for names in running text."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import dedup_service.__main__
import edge_sender.__main__
import sandbox.__main__
from tests.documents.azure_words import check_az, check_azd
from tests.documents.blocks import ROOT
from tests.support.chart import CHART, load_values, of_kind, render

CHART_ADDRESS = "oci://ghcr.io/redundant-edge-dedup/charts/dedup-service"
HELM = {
    "install": "--namespace --create-namespace --values -f --wait --timeout",
    "upgrade": "--namespace --create-namespace --install --values -f --set --wait --timeout",
    "test": "--namespace",
    "uninstall": "--namespace",
}
KUBECTL = {
    "create namespace": "",
    "get pods": "--namespace",
    "create secret generic": "--namespace --from-literal",
    "port-forward": "--namespace",
    "exec": "--namespace",
    "rollout restart": "--namespace",
    "rollout undo": "--namespace",
    "drain": "",
}


def check(words: Sequence[str]) -> None:
    """Raises AssertionError, or what the named thing raises, if a word names nothing."""
    CHECKS[words[0]](list(words[1:]))


def _parameters(words: list[str]) -> dict[str, str]:
    """`--name value` and `--name=value`; several values are one text."""
    found: dict[str, str] = {}
    for word in words:
        if word.startswith("-"):
            name, _, value = word.partition("=")
            found[name] = value
        else:
            assert found, f"{word} belongs to no parameter"
            name = next(reversed(found))
            found[name] = f"{found[name]} {word}".strip()
    return found


def _az(words: list[str]) -> None:
    first = next((n for n, word in enumerate(words) if word.startswith("-")), len(words))
    check_az(" ".join(words[:first]), _parameters(words[first:]))


def _helm(words: list[str]) -> None:
    flags = HELM[words[0]].split()
    given = [word for word in words[1:] if word.startswith("-") and word != "-"]
    assert {word.partition("=")[0] for word in given} <= set(flags), words
    if CHART_ADDRESS in words:
        assert (CHART / "Chart.yaml").exists()
    assert not [word for word in words if word.startswith("oci://") and word != CHART_ADDRESS]


def _kubectl(words: list[str]) -> None:
    own = words[: words.index("--")] if "--" in words else words
    names = [word for word in own if not word.startswith("-")]
    namespace = own[own.index("--namespace") + 1] if "--namespace" in own else None
    command = " ".join(word for word in names if word != namespace)
    known = next((item for item in KUBECTL if f"{command} ".startswith(f"{item} ")), None)
    assert known is not None, f"kubectl {command}: add it to KUBECTL, after its page"
    assert {word.partition("=")[0] for word in own if word.startswith("-")} <= set(KUBECTL[known].split()), words
    for name in names:
        for kind in ("Deployment", "Service"):
            if name.startswith(f"{kind.lower()}/"):
                assert name.partition("/")[2] in _rendered(kind)
    if "--" in words:
        check(words[words.index("--") + 1 :])


@cache
def _rendered(kind: str) -> frozenset[str]:
    return frozenset(item["metadata"]["name"] for item in of_kind(render(load_values("minimal")), kind))


def _by(make_parser: Callable[[], argparse.ArgumentParser]) -> Callable[[list[str]], None]:
    """A subcommand alone names it, and need not have what it requires."""

    def parse(words: list[str]) -> None:
        if "--help" in words or len(words) == 1:
            words = [words[0], "--help"]
        said, code = io.StringIO(), None
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                make_parser().parse_args(["json" if word == "FORMAT" else word for word in words])
            except SystemExit as ended:
                code = ended.code
        assert not code, said.getvalue()

    return parse


def _make(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = [word for word in words if "=" not in word]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets), words
    variables(" ".join(words))


def variables(text: str) -> None:
    """Those that make is given, also in a comment."""
    makefile = (ROOT / "Makefile").read_text()
    for name in re.findall(r"\b([A-Z_]+)=", text):
        assert re.search(rf"^{name} \?=", makefile, re.MULTILINE), name


def _python(words: list[str]) -> None:
    assert words[0].endswith(".py") or (words[0] == "-m" and importlib.util.find_spec(words[1]) is not None), words


CHECKS: dict[str, Callable[[list[str]], Any]] = {
    "az": _az,
    "azd": check_azd,
    "curl": lambda _: None,
    "helm": _helm,
    "kubectl": _kubectl,
    "dedup-service": _by(dedup_service.__main__.make_parser),
    "edge-sender": _by(edge_sender.__main__.make_parser),
    "sandbox": _by(sandbox.__main__.make_parser),
    "make": _make,
    "python": _python,
}


def structured_paths() -> set[str]:
    """What a clean event has in `content_mode: structured`, as paths of a mapping."""
    attributes = {"id", "source", "time", "data", "dedupdevice", "dedupmodule", "dedupenqueuedtime", "deduplate"}
    page = (ROOT / "docs" / "wire-contract.md").read_text()
    assert all(name in page for name in attributes)
    return {f"$.{name}" for name in attributes | {"dedupduplicate"}}


def mapped_paths(text: str) -> set[str]:
    """The paths in the text literals of a mapping."""
    return {item["path"] for item in json.loads("".join(re.findall(r"'([^']*)'", text)))}
