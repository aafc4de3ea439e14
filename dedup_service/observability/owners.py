"""Which pod works on which partition, by what the pods report."""

from __future__ import annotations

from collections.abc import Sequence

from dedup_service.core.pod_report import PodReport
from dedup_service.ports.pods import PodStatus
from dedup_service.telemetry import PartitionFigures


def figures_in(report: PodReport) -> dict[str, PartitionFigures]:
    return {
        name: PartitionFigures(*figures, report.oldest.get(name, 0), report.stalled.get(name, 0))
        for name, figures in report.partitions.items()
    }


def owners_of(pods: Sequence[PodStatus]) -> dict[str, tuple[PodStatus, PartitionFigures]]:
    """By partition. When two pods both report one, the one that is further along owns it."""
    owners: dict[str, tuple[PodStatus, PartitionFigures]] = {}
    for pod in pods:
        for name, figures in figures_in(pod.report).items():
            if name not in owners or owners[name][1].sequence_number <= figures.sequence_number:
                owners[name] = pod, figures
    return owners
