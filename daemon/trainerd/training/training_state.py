"""Everything that the next step depends on, taken from a run and put back into one.

Leave one element out and a resumed run is a different run; a test removes each in turn and must see it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from trainerd.contracts.errors import SpecificationRefused
from trainerd.training import random_state
from trainerd.training.checkpoints.snapshot import RunState
from trainerd.training.devices import environment_facts
from trainerd.training.early_stopping import Standing
from trainerd.training.optimizers import is_fused
from trainerd.training.progress import Progress
from trainerd.training.spec_changes import changed_keys, refuse_changes

if TYPE_CHECKING:
    from trainerd.training.run import Run


def capture(run: Run) -> RunState:
    """The run's state at a step boundary: its own tensors, not copies. The meter must have been drained."""
    update = run.update
    return RunState(
        step=run.progress.step,
        epoch=run.progress.epochs_finished,
        model=dict(update.model.state_dict()),
        training={
            "progress": run.progress.to_json(),
            "optimizer": update.optimizer.state_dict(),
            "schedule": update.schedule.state_dict(),
            "scaler": update.precision.scaler.state_dict() if update.precision.scaler else None,
            "loss": update.loss.state_dict() if isinstance(update.loss, nn.Module) else None,
            "standing": run.standing.to_json(),
            "meter": run.meter.state_dict(),
            "random": random_state.capture(run.device),
            "environment": _environment(run),
            "data_fingerprint": run.data_fingerprint,
            "spec": run.spec.model_dump(mode="json"),
        },
    )


def restore(run: Run, state: RunState) -> list[str]:
    """Put a state back; what differs between then and now, in words for the journal.

    The caller has set torch's threads to what `saved_threads` says. Raises SpecificationRefused, before anything is put
    back, for changes that would make it another run.
    """
    update, training = run.update, state.training
    changes = changed_keys(training["spec"], run.spec.model_dump(mode="json"))
    if findings := refuse_changes(changes, state.step, state.epoch):
        raise SpecificationRefused(findings)
    update.model.load_state_dict(state.model)
    update.optimizer.load_state_dict(training["optimizer"])
    update.schedule.load_state_dict(training["schedule"])
    if update.precision.scaler and training["scaler"]:
        update.precision.scaler.load_state_dict(training["scaler"])
    if isinstance(update.loss, nn.Module):
        update.loss.load_state_dict(training["loss"])
    run.progress = Progress(**training["progress"])
    run.standing = Standing.from_json(training["standing"])
    run.meter.load_state_dict(training["meter"])
    random_state.restore(training["random"], run.device)
    return [*_differences(training, run), *(f"{key}: {was} -> {now}" for key, (was, now) in changes.items())]


def saved_threads(state: RunState) -> int:
    """The number of torch's threads that the run has been trained with: sums depend on it."""
    return int(state.training["environment"]["threads"])


def _differences(training: dict[str, Any], run: Run) -> list[str]:
    now = _environment(run)
    then = training["environment"]
    changed = [f"{name}: {then.get(name)} -> {now.get(name)}" for name in now if then.get(name) != now.get(name)]
    if training["data_fingerprint"] != run.data_fingerprint:
        changed.append("the data file is not the one that the run was trained on")
    return changed


def _environment(run: Run) -> dict[str, Any]:
    """What the last bits of a sum depend on, beside the state."""
    return {**environment_facts(run.device), "fused_optimizer": is_fused(run.update.optimizer)}


def set_threads(count: int) -> None:
    """Set torch's threads if they differ (setting them is not free)."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
