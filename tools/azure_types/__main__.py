"""Says of every resource what its resource provider has not published. Returns 1 if there is anything."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tools.azure_types
from tools.azure_types.comparing import faults, limit_faults, unread
from tools.azure_types.deployments import deployments
from tools.azure_types.models import Library
from tools.azure_types.published import download, libraries, published
from tools.bicep import Deployment, Resource


def written(resource: Resource) -> dict[str, Any]:
    """The body of the request, whose path has the name."""
    return {key: value for key, value in resource.body.items() if key != "name"}


def unpublished(deployed: list[Deployment], known: list[Library]) -> Iterator[str]:
    names = {f"{one.type}@{one.api_version}" for each in deployed for one in each.resources}
    names |= {name for each in deployed for name, _ in each.reads}
    types = {name: published(known, *name.split("@")) for name in sorted(names)}
    yield from (f"{name}: no package publishes it" for name, type_ in types.items() if type_ is None)
    for each in deployed:
        for one in each.resources:
            name = f"{one.type}@{one.api_version}"
            if type_ := types[name]:
                yield from (f"{name}{fault}" for fault in faults(type_.library, type_.body, written(one)))
                yield from limit_faults(type_.name_limits, one.name.rpartition("/")[2], f"{name}: its name")
        for name, path in each.reads:
            if type_ := types[name]:
                yield from (f"{name}: {fault}" for fault in unread(type_.library, type_.answer, path))


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m tools.azure_types",
        description=tools.azure_types.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--packages", type=Path, help="a folder with the wheels, instead of a download")
    packages = parser.parse_args().packages
    deployed = list(deployments())
    with TemporaryDirectory() as folder:
        if packages is None:
            download(Path(folder))
        found = sorted({*unpublished(deployed, list(libraries(packages or Path(folder))))})
    print(*found or ["All that deploy/azure names is published."], sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
