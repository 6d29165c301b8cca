"""Whether model, loss, metrics, optimizer and schedule of a specification work together, without taking a step.

Runs in an inspector. Imports and calls user code; never touches CUDA and never changes torch's generators.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import torch
from torch import nn

from trainerd.contracts.errors import Finding, SpecificationRefused
from trainerd.contracts.spec import RunSpec
from trainerd.data import FieldSchema, Source, split_samples
from trainerd.training.components import Compare, build_loss, build_measures, build_model
from trainerd.training.devices import check_device, likely_device_type
from trainerd.training.fake_batch import NotCheckable, checkable, fake_tensors, run_loss, run_measures, run_model
from trainerd.training.models.shapes import Samples
from trainerd.training.monitors import check_monitor
from trainerd.training.optimizers import build_optimizer
from trainerd.training.precision import check_precision
from trainerd.training.schedules import build_schedule
from trainerd.training.targets import user_code

T = TypeVar("T")


class Verdict(NamedTuple):
    """What a check has found."""

    errors: list[Finding]
    warnings: list[Finding]
    model_bytes: int | None  # of all parameters and buffers; None where the model could not be built


def check_model(spec: RunSpec, source: Source) -> Verdict:
    """What is wrong, or worth a warning, with everything in `spec` that is built from code."""
    training = _Attempts()
    samples = training.attempt(lambda: len(split_samples(source, spec.data.split)[0]))
    sizes = _batch_sizes(samples or spec.data.batch_size, spec.data.batch_size)
    verdict = check_components(spec, source.inputs, source.targets, sizes)
    return verdict._replace(errors=training.errors + verdict.errors)


def check_declared(spec: RunSpec) -> Verdict:
    """The same without the data: what is declared of it has to do."""
    fields = (FieldSchema.of("inputs", spec.data.inputs), FieldSchema.of("targets", spec.data.targets))
    return check_components(spec, *fields, [spec.data.batch_size])


def check_components(spec: RunSpec, inputs: Samples, targets: Samples, batch_sizes: list[int]) -> Verdict:
    """The same for given shapes: every part is built, then one batch of each size goes through them."""
    missing_classes = _missing_classes(spec, targets)
    device_findings = check_device(spec.trainer.device, spec.resources.gpus)
    check = _Attempts([*check_monitor(spec), *device_findings, *missing_classes])
    check.attempt(lambda: check_precision(spec.trainer.precision, likely_device_type(spec)))
    check.attempt(lambda: _check_schedule(spec))
    with fake_tensors():
        loss = check.attempt(lambda: build_loss(spec.loss))
        measures = check.attempt(lambda: build_measures(spec.metrics))
        model = check.attempt(lambda: build_model(spec.model, inputs, targets))
        if model is not None:
            check.attempt(lambda: build_optimizer(spec.optimizer, model))
        if model is not None and loss is not None and not missing_classes:
            _warn_of_untrained_parameters(loss, check)
            check.attempt(lambda: _run_batches(model, loss, measures or {}, inputs, targets, batch_sizes))
    return Verdict(check.errors, check.warnings, None if model is None else _bytes_of(model))


def _bytes_of(model: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in (*model.parameters(), *model.buffers()))


@dataclass
class _Attempts:
    """Goes on after a failure, so that all problems are reported at once."""

    errors: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)

    def attempt(self, build: Callable[[], T]) -> T | None:
        """What `build` gives; None where it fails, which is then noted once."""
        try:
            with checkable():
                return build()
        except SpecificationRefused as refusal:
            self.errors += [each for each in refusal.findings if each not in self.errors]
        except NotCheckable as reason:
            warning = Finding(f"not checkable without running it: {reason}", key="model")
            self.warnings += [warning] if warning not in self.warnings else []
        return None


def _batch_sizes(samples: int, batch_size: int) -> list[int]:
    """The sizes of an epoch's batches: the full one if there is any, and the short last one."""
    short = samples % batch_size
    return [batch_size] * (samples >= batch_size) + [short] * (short > 0)


def _missing_classes(spec: RunSpec, targets: Samples) -> list[Finding]:
    """A finding where a registered model cannot know how many classes its output must tell apart."""
    is_needed = spec.loss.name == "cross_entropy" and spec.model.name and not targets.dtype.is_floating_point
    if not is_needed or "classes" in spec.model.args:
        return []
    message = f"cross_entropy with {targets.dtype} targets needs the number of classes".replace("torch.", "")
    return [Finding(message, key="model.args.classes", expected="a whole number", found="nothing")]


def _check_schedule(spec: RunSpec) -> None:
    """Ask the schedule for the first share; it must be a finite number, 0 or more."""
    schedule = build_schedule(spec.schedule, total_steps=max(2, spec.schedule.warmup_steps + 1))
    with user_code(f"{spec.schedule.target or spec.schedule.name}, asked for a step,", "schedule"):
        share = schedule.lr_scale(schedule.span.warmup_steps + 1)
    if not math.isfinite(share) or share < 0:
        raise SpecificationRefused([Finding("not a share", key="schedule", expected="0 or more", found=str(share))])
    if spec.schedule.name == "plateau" and spec.monitor is None:
        message = "plateau has nothing to look at: give data.split, or early_stopping with train_loss"
        raise SpecificationRefused([Finding(message, key="schedule.name")])


def _warn_of_untrained_parameters(loss: Compare, check: _Attempts) -> None:
    if isinstance(loss, nn.Module) and any(True for _ in loss.parameters()):
        check.warnings.append(Finding("the loss has parameters of its own, which are not trained", key="loss"))


def _run_batches(
    model: nn.Module, loss: Compare, measures: dict[str, Compare], inputs: Samples, targets: Samples, sizes: list[int]
) -> None:
    """One batch of each size; the first that fails is reported."""
    for size in sizes:
        target = torch.zeros((size, *targets.shape), dtype=targets.dtype)
        output = run_model(model, torch.zeros((size, *inputs.shape), dtype=inputs.dtype))
        run_loss(loss, output, target)
        with torch.no_grad():
            run_measures(measures, output, target)
