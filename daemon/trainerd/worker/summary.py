"""The last lines of a foreground run: how it ended, what early stopping saved, where the model lies. Pure."""

from __future__ import annotations

import shlex

from trainerd.contracts.outcome import Outcome
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.spec import RunSpec
from trainerd.contracts.states import Reason, State


def summarize(outcome: Outcome, spec: RunSpec, directory: RunDirectory, *, again: str) -> list[str]:
    """The summary, a fact a line. `again` is the command line that the run was started with."""
    lines = [_ending_line(outcome, spec)]
    monitor = outcome.monitor
    if monitor and monitor.get("best") is not None:
        lines.append(f"best {monitor['name']}: {monitor['best']:.6g} at epoch {monitor['best_epoch']}")
    if outcome.reason == Reason.EARLY_STOPPING:
        saved = 1 - outcome.epoch / spec.trainer.max_epochs
        lines.append(
            f"early stopping saved {saved:.0%} of max_epochs ({outcome.epoch} of {spec.trainer.max_epochs} epochs)"
        )
    if outcome.model:
        lines.append(f"model: {outcome.model['path']} (epoch {outcome.model['epoch']})")
    if outcome.state in (State.STOPPED, State.PAUSED, State.INTERRUPTED, State.BLOCKED):
        lines.append(f"go on with: {again} --run-dir {shlex.quote(str(directory.path))}")
    return lines


def _ending_line(outcome: Outcome, spec: RunSpec) -> str:
    reason = f" ({outcome.reason})" if outcome.reason else ""
    line = f"{spec.name}: {outcome.state}{reason} at step {outcome.step}, after {outcome.epoch} epochs"
    return f"{line}: {outcome.error}" if outcome.error else line
