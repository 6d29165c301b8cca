"""Builds the model, the loss and the measures that a specification asks for. Seeds nothing: the caller has.

Optimizers and schedules have modules of their own; how a name or a target is resolved stands in registry.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from trainerd.contracts.errors import Finding, SpecificationRefused
from trainerd.contracts.spec import Component, Loss, Metric, Model
from trainerd.training.losses import LOSSES
from trainerd.training.measures import MEASURES
from trainerd.training.models import MODELS
from trainerd.training.models.shapes import Samples
from trainerd.training.monitors import metric_name
from trainerd.training.registry import Kind, call, check_arguments, choose
from trainerd.training.targets import import_from

__all__ = ["Compare", "build_loss", "build_measures", "build_model", "import_from"]

Compare = Callable[..., Tensor]  # (output, *targets) -> scalar, the mean over the batch


def _is_module_class(found: object) -> bool:
    return inspect.isclass(found) and issubclass(found, nn.Module)


def _is_module_class_or_function(found: object) -> bool:
    return _is_module_class(found) or inspect.isroutine(found)


_MODULE_OR_FUNCTION = "a torch.nn.Module subclass or a function"
MODEL = Kind("model", "a torch.nn.Module subclass", _is_module_class, MODELS)
LOSS = Kind("loss", _MODULE_OR_FUNCTION, _is_module_class_or_function, LOSSES)
METRIC = Kind("metric", _MODULE_OR_FUNCTION, _is_module_class_or_function, MEASURES)


def build_model(spec: Model, inputs: Samples, targets: Samples) -> nn.Module:
    """The model on the CPU, its weights drawn from torch's global generator.

    Registered models fit themselves to the shapes of one sample's inputs and targets; a target gets its args only.
    Raises SpecificationRefused.
    """
    factory = choose(MODEL, spec, "model")
    supplied = (inputs, targets) if spec.target is None else ()
    model: nn.Module = call(factory, spec, "model", *supplied)
    return model


def build_loss(spec: Loss) -> Compare:
    """The loss: a Module, or a function of (output, *targets). Raises SpecificationRefused."""
    return _build_comparison(LOSS, spec, "loss")


def build_measures(metrics: Sequence[Metric]) -> dict[str, Compare]:
    """What validation also measures, by its name in metrics.jsonl. Raises SpecificationRefused."""
    measures: dict[str, Compare] = {}
    for index, metric in enumerate(metrics):
        name, key = metric_name(metric), f"metrics.{index}"
        if name in measures or name == "loss":
            raise SpecificationRefused([Finding(f"the name {name} is taken already", key=key)])
        measures[name] = _build_comparison(METRIC, metric, key)
    return measures


def _build_comparison(kind: Kind, spec: Component, key: str) -> Compare:
    """A function is not called here: it is the comparison itself, with its arguments bound."""
    chosen = choose(kind, spec, key)
    if spec.target is None or inspect.isclass(chosen):
        built: Compare = call(chosen, spec, key)
        return built
    check_arguments(chosen, spec, key, positional=2)
    return partial(chosen, **spec.args) if spec.args else chosen
