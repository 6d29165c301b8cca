"""The code that a specification's targets come from, by its content: a run that goes on with other code says so."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from operator import attrgetter

import xxhash

from trainerd.contracts.spec import Component, RunSpec
from trainerd.training.monitors import monitored_metrics


def fingerprint_code(spec: RunSpec) -> dict[str, str]:
    """The xxh3 of the files that the targets are named in and defined in, by module; they have been imported.

    What these files import for themselves is not looked at.
    """
    modules = {module for component in _components(spec) if component.target for module in _modules(component.target)}
    return {name: _fingerprint(name) for name in sorted(modules)}


def _modules(target: str) -> set[str]:
    """The module that the target names, and the one that its object was defined in: a package may only pass it on."""
    named, _, path = target.partition(":")
    defined = getattr(attrgetter(path)(sys.modules[named]), "__module__", None) if named in sys.modules else None
    return {named, defined or named}


def _fingerprint(module: str) -> str:
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return "built in"
    with open(file, "rb") as source:
        return f"xxh3:{xxhash.xxh3_128_hexdigest(source.read())}"


def _components(spec: RunSpec) -> Iterator[Component]:
    """What the steps depend on: of the metrics the monitored one, by which learning rate and best weights may go."""
    yield from (spec.model, spec.loss, spec.optimizer, spec.schedule)
    yield from monitored_metrics(spec)
