"""One batch through model, loss and measures on fake tensors: shapes and element types, no values and no memory.

A failure here is the user's only if real tensors would fail in the same way. What needs values (`.item()`, boolean
masks, `.numpy()`) cannot be followed without them: that is "not checkable", never wrong.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.utils._python_dispatch import TorchDispatchMode

from trainerd.contracts.errors import Finding, SpecificationRefused
from trainerd.training.targets import user_code

_NEEDS_VALUES = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    GuardOnDataDependentSymNode,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)
# RuntimeErrors that have no class of their own; a GPU named by user code is not there in an inspector.
_NEEDS_VALUES_SAID = (".numpy() is not supported for tensor subclasses", "cuda", "data pointer")
_TORCH_WARNS_OF_BROADCASTING = "Using a target size"  # mse_loss, l1_loss, smooth_l1_loss, huber_loss


class NotCheckable(Exception):
    """The user's code needs values, which fake tensors do not have; the message says what for."""


@contextmanager
def fake_tensors() -> Iterator[None]:
    """Tensors made inside are fake. Leaves torch's generators as they were, and torch's log quiet about failures."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    was_disabled, log.disabled = log.disabled, True
    try:
        with torch.random.fork_rng(devices=[]), FakeTensorMode(allow_non_fake_inputs=True):
            yield
    finally:
        log.disabled = was_disabled


@contextmanager
def checkable() -> Iterator[None]:
    """Raises NotCheckable for a failure that only fake tensors have; lets every other one through."""
    try:
        yield
    except SpecificationRefused as refusal:
        if _needs_values(refusal.__cause__):
            raise NotCheckable(refusal.findings[0].message) from refusal
        raise


def run_model(model: nn.Module, inputs: Tensor) -> Any:
    """The model's output in training mode. Raises SpecificationRefused or NotCheckable."""
    model.train()
    with checkable(), user_code(f"the model, given {describe(inputs)},", "model"):
        return model(inputs)


def run_loss(loss: Callable[..., Any], output: Any, target: Tensor) -> None:
    """Hold the loss to its promise: a scalar that depends on the parameters and broadcasts nothing.

    Raises SpecificationRefused, whose finding names the shapes of output and target, or NotCheckable.
    """
    value, broadcasts = _compare(loss, output, target, "loss")
    if broadcasts:
        raise _refusal("the loss would broadcast output and target against each other", "loss", output, target)
    _check_scalar(value, "loss", output, target)
    if not value.requires_grad:
        raise SpecificationRefused([Finding("the loss does not depend on the model's parameters", key="loss")])


def run_measures(measures: Mapping[str, Callable[..., Any]], output: Any, target: Tensor) -> None:
    """Each measure must give a scalar. Raises SpecificationRefused or NotCheckable."""
    for index, measure in enumerate(measures.values()):
        value, _ = _compare(measure, output, target, f"metrics.{index}")
        _check_scalar(value, f"metrics.{index}", output, target)


def describe(value: Any) -> str:
    """A tensor by shape and element type; anything else by its type."""
    if isinstance(value, Tensor):
        return f"{list(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, tuple | list):
        return f"({', '.join(describe(each) for each in value)})"
    return f"a {type(value).__name__}"


def _compare(compare: Callable[..., Any], output: Any, target: Tensor, key: str) -> tuple[Any, bool]:
    """(value, whether it broadcast its target)."""
    what = f"the {'loss' if key == 'loss' else 'metric'}, given the model's output {describe(output)}"
    watch = _BroadcastWatch(output, target)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with checkable(), user_code(f"{what} and the target {describe(target)},", key), watch:
            value = compare(output, target)
    return value, watch.found or any(_TORCH_WARNS_OF_BROADCASTING in str(each.message) for each in caught)


def _check_scalar(value: Any, key: str, output: Any, target: Tensor) -> None:
    if not isinstance(value, Tensor) or value.dim() != 0:
        what = "loss" if key == "loss" else "metric"
        raise _refusal(f"the {what} gives {describe(value)} instead of a scalar tensor", key, output, target)


def _refusal(message: str, key: str, output: Any, target: Tensor) -> SpecificationRefused:
    found = f"output {describe(output)} and target {describe(target)}"
    return SpecificationRefused([Finding(message, key=key, found=found)])


def _needs_values(error: BaseException | None) -> bool:
    """Whether fake tensors are the reason for `error`, or for what it was raised from."""
    if error is None:
        return False
    says_so = isinstance(error, RuntimeError | AssertionError) and any(
        said in str(error) for said in _NEEDS_VALUES_SAID
    )
    return says_so or isinstance(error, _NEEDS_VALUES) or _needs_values(error.__cause__ or error.__context__)


class _BroadcastWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notices arithmetic between output and target themselves whose result is larger than both.

    That is [B, 1] against [B]: a B x B table that nobody meant. One-sided broadcasting may be meant and passes.
    """

    def __init__(self, output: Any, target: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found = False
        self._outputs = [output] if isinstance(output, Tensor) else []
        self._target = target

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        operands = [each for each in args if isinstance(each, Tensor)]
        if torch.Tag.pointwise in func.tags and len(operands) == 2 and isinstance(result, Tensor):
            grown = all(result.shape != each.shape for each in operands)
            self.found |= grown and self._are_output_and_target(operands)
        return result

    def _are_output_and_target(self, operands: list[Tensor]) -> bool:
        def includes(tensors: list[Tensor]) -> bool:
            return any(
                torch._C._is_alias_of(one, other)  # type: ignore[attr-defined]
                for one in operands
                for other in tensors
            )

        return includes(self._outputs) and includes([self._target])
