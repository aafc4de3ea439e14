"""Draws a picture of each curve."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

from benchmarks.results import Curve

plt.switch_backend("agg")


def draw(curve: Curve, folder: Path) -> Path:
    figure, axes = plt.subplots(figsize=(7, 4), dpi=120, layout="constrained")
    for name, values in curve.lines.items():
        axes.plot(curve.xs, values, marker="o", label=name)
    axes.set(title=curve.title, xlabel=curve.x_label, ylabel=curve.y_label)
    axes.set_ylim(bottom=0)
    if curve.logarithmic:
        axes.set_xscale("log")
    axes.grid(alpha=0.3)
    axes.legend()
    path = folder / f"bench-{curve.name}.png"
    figure.savefig(path)
    plt.close(figure)
    return path
