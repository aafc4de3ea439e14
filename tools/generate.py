"""`make generate`: writes the generated files; with `--check` it only lists those that are not up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.chart_schema import chart_schema
from tools.documents import chart_page, configuration_page, edge_page

ROOT = Path(__file__).parents[1]
CHART = ROOT / "helm" / "dedup-service"


def generated() -> dict[Path, str]:
    values = CHART / "values.yaml"
    return {
        ROOT / "docs" / "configuration.md": configuration_page(),
        ROOT / "docs" / "edge-settings.md": edge_page(),
        CHART / "values.schema.json": chart_schema(values),
        CHART / "README.md": chart_page(values),
    }


def main() -> None:
    stale = [path for path, text in generated().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if "--check" not in sys.argv:
            path.write_text(generated()[path])
        print(path.relative_to(ROOT))
    if stale and "--check" in sys.argv:
        raise SystemExit("not up to date: run `make generate`")


if __name__ == "__main__":
    main()
