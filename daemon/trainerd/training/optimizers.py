"""Builds the optimizer. The registered ones are fused where torch can: one kernel for all parameters, CPUs too."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from trainerd.contracts.errors import Finding, SpecificationRefused
from trainerd.contracts.spec import Optimizer
from trainerd.training.registry import Factory, Kind, call, choose

_PLAIN_OPTIMIZERS = (torch.optim.AdamW, torch.optim.SGD)
_FUSED_DEVICES = frozenset({"cpu", "cuda"})
Beta = Annotated[float, Field(ge=0, lt=1)]
Betas = Annotated[Sequence[Beta], Field(min_length=2, max_length=2)]
NonNegative = Annotated[float, Field(ge=0)]


def build_optimizer(spec: Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of all parameters of `model`, which already lies on its device.

    A target is called with the parameters, its args, and those of lr and weight_decay that it takes. Raises
    SpecificationRefused.
    """
    parameters = list(model.parameters())
    if not parameters:
        raise SpecificationRefused([Finding("the model has no parameters to train", key="model")])
    factory = choose(OPTIMIZER, spec, "optimizer")
    optimizer: torch.optim.Optimizer = call(factory, spec, "optimizer", parameters, **_rates(factory, spec))
    if not _can_step_alone(optimizer):
        message = f"{spec.target} needs a closure for each step, which the training loop does not give"
        raise SpecificationRefused([Finding(message, key="optimizer.target")])
    return optimizer


def is_fused(optimizer: torch.optim.Optimizer) -> bool:
    """Whether one kernel updates all parameters. Its sums differ in the last bits from the other implementations'."""
    return all(bool(group.get("fused")) for group in optimizer.param_groups)


Arguments = list[dict[str, Any]]  # of each parameter group: all that torch keeps there but the parameters


def own_arguments(optimizer: torch.optim.Optimizer) -> Arguments:
    """What the groups of an optimizer hold beside their parameters; of a new one: its arguments."""
    return [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]


def apply_arguments(optimizer: torch.optim.Optimizer, now: Arguments, then: Arguments) -> None:
    """Give the groups the arguments that differ between `then` and `now`.

    The others stay as they are: some optimizers keep a state in their groups.
    """
    for group, new, old in zip(optimizer.param_groups, now, then, strict=True):
        group.update({key: value for key, value in new.items() if key not in old or not _is_same(old[key], value)})


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    return bool(one == other)


def direct_step(optimizer: torch.optim.Optimizer) -> Callable[[], object]:
    """`optimizer.step` without the profiler range that torch wraps around it: a sixth of a small model's step.

    Hooks run inside that range, so it stays where there may be any: on another class, or with a hook registered.
    """
    wrapped = getattr(type(optimizer).step, "__wrapped__", None)
    if wrapped is None or type(optimizer) not in _PLAIN_OPTIMIZERS or _has_step_hooks(optimizer):
        return optimizer.step
    return partial(wrapped, optimizer)


def _has_step_hooks(optimizer: torch.optim.Optimizer) -> bool:
    registries = (
        _global_optimizer_pre_hooks,
        _global_optimizer_post_hooks,
        optimizer._optimizer_step_pre_hooks,
        optimizer._optimizer_step_post_hooks,
    )
    return any(registries)


def _adamw(
    params: Sequence[nn.Parameter],
    lr: float,
    weight_decay: float,
    *,
    betas: Betas = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    amsgrad: bool = False,
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101); weight decay applies to every parameter."""
    first, second = betas
    return torch.optim.AdamW(
        params, lr, (first, second), eps, weight_decay, amsgrad=amsgrad, fused=_can_be_fused(params) or None
    )


def _sgd(
    params: Sequence[nn.Parameter],
    lr: float,
    weight_decay: float,
    *,
    momentum: NonNegative = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent; weight decay applies to every parameter."""
    fused = _can_be_fused(params) or None
    return torch.optim.SGD(params, lr, momentum, dampening, weight_decay, nesterov, fused=fused)


def _is_optimizer_class(found: object) -> bool:
    return inspect.isclass(found) and issubclass(found, torch.optim.Optimizer)


OPTIMIZER = Kind("optimizer", "a torch.optim.Optimizer subclass", _is_optimizer_class, {"adamw": _adamw, "sgd": _sgd})


def _rates(factory: Factory, spec: Optimizer) -> Mapping[str, Any]:
    """Those of lr and weight_decay that the factory takes. A weight decay that it cannot take is refused."""
    parameters = inspect.signature(factory).parameters
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    rates = {"lr": spec.lr} if "lr" in parameters or takes_any else {}
    if "weight_decay" in parameters or (takes_any and spec.weight_decay):
        rates["weight_decay"] = spec.weight_decay
    elif spec.weight_decay:
        message = f"{spec.target} takes no weight_decay"
        raise SpecificationRefused(
            [Finding(message, key="optimizer.weight_decay", expected="0", found=str(spec.weight_decay))]
        )
    return rates


def _can_be_fused(parameters: Iterable[nn.Parameter]) -> bool:
    return all(each.is_floating_point() and each.device.type in _FUSED_DEVICES for each in parameters)


def _can_step_alone(optimizer: torch.optim.Optimizer) -> bool:
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is None or closure.default is not inspect.Parameter.empty
