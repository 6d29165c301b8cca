"""Everything that the next step depends on, taken from a run and put back into one.

Leave one element out and a resumed run is a different run; a test removes each in turn and must see it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trainerd.contracts.spec import Component, RunSpec
from trainerd.contracts.spec import Optimizer as OptimizerSpec
from trainerd.training import random_state
from trainerd.training.checkpoints.snapshot import RunState
from trainerd.training.devices import environment_facts
from trainerd.training.early_stopping import Standing
from trainerd.training.optimizers import apply_arguments, build_optimizer, is_fused, own_arguments
from trainerd.training.progress import Progress
from trainerd.training.state_tree import flatten

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
            "code": run.code,
            "spec": run.spec.model_dump(mode="json"),
        },
    )


def restore(run: Run, state: RunState, then: RunSpec) -> None:
    """Put a state back that a run of the specification `then` has left.

    What has changed in the specification since is applied, not put back. The caller has made sure that it may change,
    and has set torch's threads to what `saved_threads` says.
    """
    update, training = run.update, state.training
    update.model.load_state_dict(state.model)
    _restore_optimizer(run, training["optimizer"], then.optimizer)
    if _is_same_component(run.spec.schedule, then.schedule):
        update.schedule.load_state_dict(training["schedule"])
    if update.precision.scaler and training["scaler"]:
        update.precision.scaler.load_state_dict(training["scaler"])
    if isinstance(update.loss, nn.Module):
        update.loss.load_state_dict(training["loss"])
    run.progress = Progress(**training["progress"])
    run.standing = Standing.from_json(training["standing"])
    run.meter.load_state_dict(training["meter"])
    random_state.restore(training["random"], run.device)


def _restore_optimizer(run: Run, saved: dict[str, Any], then: OptimizerSpec) -> None:
    """Put the optimizer's state back; its groups, which torch keeps there too, keep the arguments that have changed."""
    optimizer, now = run.update.optimizer, run.spec.optimizer
    wanted = own_arguments(optimizer)
    optimizer.load_state_dict(saved)
    if now != then:
        apply_arguments(optimizer, wanted, own_arguments(build_optimizer(then, run.update.model)))


def _is_same_component(now: Component, then: Component) -> bool:
    return (now.name, now.target) == (then.name, then.target)


def find_not_restored(run: Run, state: RunState, then: RunSpec) -> list[str]:
    """The elements of a state that did not come back bit for bit, by their names; call right after `restore`.

    What the changes of the specification decide, and what belongs to the machine, is not looked at.
    """
    back = capture(run)
    has_moved = back.training["environment"]["device"] != state.training["environment"]["device"]
    tensors, document = _elements(back, run.spec, then, has_moved)
    saved_tensors, saved_document = _elements(state, run.spec, then, has_moved)
    names = sorted(tensors.keys() | saved_tensors.keys())
    lost = [name for name in names if not _is_same_tensor(tensors.get(name), saved_tensors.get(name))]
    parts = sorted(document.keys() | saved_document.keys())
    return lost + [name for name in parts if document.get(name) != saved_document.get(name)]


def _elements(
    state: RunState, now: RunSpec, then: RunSpec, has_moved: bool
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors by name, the rest as JSON text by name) of what has to be the same after `restore`."""
    decided = {"environment", "data_fingerprint", "code", "spec"}
    decided |= {"schedule"} if now.schedule != then.schedule else set()
    decided |= {"scaler"} if now.trainer.precision != then.trainer.precision else set()
    training = {name: part for name, part in state.training.items() if name not in decided}
    if now.optimizer != then.optimizer:
        training["optimizer"] = training["optimizer"]["state"]
    if has_moved:
        training["random"] = {**training["random"], "cuda": None}
    tensors, document = flatten(training, "training")
    model = {f"model.{name}": tensor for name, tensor in state.model.items()}
    return {**tensors, **model}, {name: json.dumps(part) for name, part in document.items()}


def _is_same_tensor(one: Tensor | None, other: Tensor | None) -> bool:
    """Bit for bit: a NaN is itself, 0 is not -0."""
    if one is None or other is None or (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    one_bytes, other_bytes = (each.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for each in (one, other))
    return torch.equal(one_bytes, other_bytes)


def saved_threads(state: RunState) -> int:
    """The number of torch's threads that the run has been trained with: sums depend on it."""
    return int(state.training["environment"]["threads"])


def find_environment_differences(run: Run, state: RunState) -> list[str]:
    """What the last bits of a sum depend on and is not as it was, in words for the journal."""
    now, then = _environment(run), state.training["environment"]
    return [f"{name}: {then.get(name)} -> {now.get(name)}" for name in now if then.get(name) != now.get(name)]


def computes_in_another_precision(run: Run, state: RunState) -> bool:
    """Whether `trainer.precision: auto` means something else on this device than on the one before."""
    return bool(_environment(run)["autocast"] != state.training["environment"].get("autocast"))


def find_changed_code(run: Run, state: RunState) -> list[str]:
    """The targets' modules that are not what they were, in words for the journal."""
    then = state.training["code"]
    return [f"the code of {name} has changed" for name, content in run.code.items() if then.get(name) != content]


def _environment(run: Run) -> dict[str, Any]:
    """What the last bits of a sum depend on, beside the state."""
    dtype = run.update.precision.dtype
    return {
        **environment_facts(run.device),
        "fused_optimizer": is_fused(run.update.optimizer),
        "autocast": None if dtype is None else str(dtype),
    }


def set_threads(count: int) -> None:
    """Set torch's threads if they differ (setting them is not free)."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
