"""Schedules: the learning rate as a share of `optimizer.lr`, over the steps of a run.

A share is a pure function of the step (counted from 1) and, for plateau alone, of a recorded state in plain JSON. A
schedule never touches the optimizer: the update multiplies.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from trainerd.contracts.spec import Schedule as ScheduleSpec
from trainerd.training.early_stopping import is_improvement
from trainerd.training.models.shapes import Count
from trainerd.training.registry import Kind, call, check_arguments, choose

Share = Annotated[float, Field(ge=0, le=1)]
Mode = Literal["min", "max"]


@dataclass(frozen=True)
class Span:
    """What a schedule may need to know of its run."""

    warmup_steps: int
    total_steps: int
    mode: Mode = "min"  # whether a smaller or a larger monitored metric is better


class Schedule(ABC):
    """A curve behind a linear warm-up: the share is step/warmup_steps until it reaches 1 at step `warmup_steps`."""

    def __init__(self, span: Span) -> None:
        self.span = span

    def lr_scale(self, step: int) -> float:
        """The share of `optimizer.lr` that update number `step` (from 1) uses."""
        warmup_steps = self.span.warmup_steps
        return step / warmup_steps if step < warmup_steps else self._share(step)

    @abstractmethod
    def _share(self, step: int) -> float:
        """The share from step `warmup_steps` on."""

    def observe(self, value: float | None) -> None:  # noqa: B027 - most schedules look at the step alone
        """Take the monitored metric of a finished epoch; None where nothing was measured."""

    def state_dict(self) -> dict[str, Any]:
        """Plain JSON; empty where the step decides alone."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - the same
        """Take back what `state_dict` gave."""


def build_schedule(spec: ScheduleSpec, total_steps: int, mode: Mode = "min") -> Schedule:
    """The schedule of a run of `total_steps` updates; `mode` is the monitor's. Raises SpecificationRefused.

    A target is a function (step, total_steps, **args) -> share.
    """
    chosen = choose(SCHEDULE, spec, "schedule")
    span = Span(spec.warmup_steps, total_steps, mode)
    if spec.target is None:
        schedule: Schedule = call(chosen, spec, "schedule", span)
        return schedule
    check_arguments(chosen, spec, "schedule", positional=2)
    return FromFunction(span, partial(chosen, **spec.args))


class Constant(Schedule):
    """Always the whole learning rate."""

    def _share(self, step: int) -> float:  # noqa: ARG002 - the promise of the base class
        return 1.0


class Cosine(Schedule):
    """Half a cosine from 1 after the warm-up to `min_scale` at the last step (Loshchilov, Hutter, arXiv:1608.03983)."""

    def __init__(self, span: Span, *, min_scale: Share = 0.0) -> None:
        super().__init__(span)
        self._min_scale = min_scale

    def _share(self, step: int) -> float:
        length = max(1, self.span.total_steps - self.span.warmup_steps)
        progress = min(1.0, (step - self.span.warmup_steps) / length)
        return self._min_scale + (1.0 - self._min_scale) * 0.5 * (1.0 + math.cos(math.pi * progress))


class Plateau(Schedule):
    """The share shrinks by `factor` whenever `patience` epochs in a row have not improved, down to `min_scale`.

    An improvement is strictly more than `min_delta`, as in early stopping; NaN and infinity are none. After each
    reduction the counting starts afresh.
    """

    def __init__(
        self,
        span: Span,
        *,
        factor: Annotated[float, Field(gt=0, lt=1)] = 0.5,
        patience: Count = 10,
        min_delta: Annotated[float, Field(ge=0)] = 0.0,
        min_scale: Share = 0.0,
    ) -> None:
        super().__init__(span)
        self._factor, self._patience, self._min_delta, self._min_scale = factor, patience, min_delta, min_scale
        self._scale = 1.0
        self._best: float | None = None
        self._epochs_without = 0

    def _share(self, step: int) -> float:  # noqa: ARG002 - the promise of the base class
        return self._scale

    def observe(self, value: float | None) -> None:
        if value is None:
            return
        if is_improvement(value, self._best, self._min_delta, self.span.mode):
            self._best, self._epochs_without = value, 0
            return
        self._epochs_without += 1
        if self._epochs_without >= self._patience:
            self._scale, self._epochs_without = max(self._min_scale, self._scale * self._factor), 0

    def state_dict(self) -> dict[str, Any]:
        return {"scale": self._scale, "best": self._best, "epochs_without": self._epochs_without}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._scale, self._best, self._epochs_without = state["scale"], state["best"], state["epochs_without"]


class FromFunction(Schedule):
    """What a user's function of (step, total_steps) says."""

    def __init__(self, span: Span, function: Callable[[int, int], float]) -> None:
        super().__init__(span)
        self._function = function

    def _share(self, step: int) -> float:
        return float(self._function(step, self.span.total_steps))


SCHEDULE = Kind(
    "schedule",
    "a function of (step, total_steps)",
    inspect.isroutine,
    {"constant": Constant, "cosine": Cosine, "plateau": Plateau},
)
