"""Where captured messages go: one file for each gateway, which only their owner can read, since payloads are in them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from urllib.parse import quote

from dedup_service.commands.capture import CaptureFailedError
from wire.formats.capture import Captured, written

MAX_NAME = 100
"""Characters of a file's name that come from the gateway's; file systems allow 255 bytes."""


@contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """Made at once, so that nobody waits for events that can't be kept; removed if nothing came. Raises
    CaptureFailedError."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        raise CaptureFailedError(f"--output {path}: it exists, and nothing is overwritten; name a new folder") from None
    except OSError as error:
        raise CaptureFailedError(f"--output {path}: the folder can't be made: {error.strerror}") from None
    try:
        yield
    finally:
        if not any(path.iterdir()):
            path.rmdir()


def save(folder: Path, gateways: Mapping[str, Sequence[Captured]]) -> dict[str, Path]:
    """One file for each gateway. Returns their paths. Raises CaptureFailedError."""
    paths = {gateway: folder / name for gateway, name in file_names(gateways).items()}
    for gateway, path in paths.items():
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(written(gateways[gateway]))
        except OSError as error:
            raise CaptureFailedError(f"{path} can't be written: {error.strerror}") from None
    return paths


def file_names(gateways: Mapping[str, object]) -> dict[str, str]:
    """A name for each, different also where the file system ignores case. Gateways may have any name."""
    taken: set[str] = set()
    names = {}
    for gateway in sorted(gateways):
        stem = quote(gateway, safe="", errors="replace")
        if len(stem) > MAX_NAME or stem.startswith(".") or stem.casefold() in taken:
            stem = f"{stem[:MAX_NAME].lstrip('.')}-{blake2b(gateway.encode(errors='replace'), digest_size=6).hexdigest()}"
        taken.add(stem.casefold())
        names[gateway] = f"{stem}.json"
    return names
