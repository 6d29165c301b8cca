"""Which metrics a run measures, and whether the one that early stopping watches is among them."""

from __future__ import annotations

from difflib import get_close_matches

from trainerd.contracts.errors import Finding
from trainerd.contracts.spec import Metric, RunSpec


def metric_name(metric: Metric) -> str:
    """The key of a metric in validation lines: its registered name, or the last part of its target."""
    return metric.name or str(metric.target).rpartition(":")[2].rpartition(".")[2]


def monitored_metrics(spec: RunSpec) -> list[Metric]:
    """The metric that decides which weights are best; none where a loss does."""
    watched = spec.monitor[0] if spec.monitor else None
    return [metric for metric in spec.metrics if f"val_{metric_name(metric)}" == watched]


def monitorable(spec: RunSpec) -> list[str]:
    """The names that `early_stopping.monitor` may hold."""
    validated = ["val_loss", *(f"val_{metric_name(metric)}" for metric in spec.metrics)] if spec.data.split else []
    return ["train_loss", *validated]


def check_monitor(spec: RunSpec) -> list[Finding]:
    """A finding if early stopping watches something that the run does not measure."""
    names = monitorable(spec)
    if spec.early_stopping is None or spec.early_stopping.monitor in names:
        return []
    monitor = spec.early_stopping.monitor
    nearest = get_close_matches(monitor, names, n=1)
    without_split = "" if spec.data.split else "; without data.split there is no validation"
    return [
        Finding(
            f"{monitor} is not measured in this run{without_split}",
            key="early_stopping.monitor",
            expected=f"one of {', '.join(names)}",
            suggestion=nearest[0] if nearest else None,
        )
    ]
