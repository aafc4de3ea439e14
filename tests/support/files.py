"""File sources for tests, made from their configuration as a gateway makes them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from edge_sender.config.sources import check_sources
from edge_sender.counters import SourceTally
from edge_sender.sources.files.source import FileSource
from edge_sender.sources.make import make_source
from tests.doubles.intake import ListIntake

MACHINES: dict[str, Any] = {"format": "csv", "uri": "urn:plant:{machine}", "time": "time"}


def file_source(path: Path, **given: Any) -> FileSource:
    """Raises SourceConfigError."""
    document = {"name": "file", "kind": "file", "path": str(path), "identity": "source-time", **given}
    source = make_source(check_sources({"sources": [document]}).sources[0], "", SourceTally())
    assert isinstance(source, FileSource)
    return source


async def read(source: FileSource, start: str | None = None) -> ListIntake:
    """What a source that does not follow its file delivers."""
    intake = ListIntake(start)
    await asyncio.wait_for(source.run(intake), 20)
    return intake


def written(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))
    return path
