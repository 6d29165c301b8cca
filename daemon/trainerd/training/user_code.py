"""The code that a specification's targets come from, by its content: a run that goes on with other code says so."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import xxhash

from trainerd.contracts.spec import Component, RunSpec


def fingerprint_code(spec: RunSpec) -> dict[str, str]:
    """The xxh3 of the file of each target's module, which has been imported; what that imports is not looked at."""
    modules = {str(component.target).partition(":")[0] for component in _components(spec) if component.target}
    return {name: _fingerprint(name) for name in sorted(modules)}


def _fingerprint(module: str) -> str:
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return "built in"
    with open(file, "rb") as source:
        return f"xxh3:{xxhash.xxh3_128_hexdigest(source.read())}"


def _components(spec: RunSpec) -> Iterator[Component]:
    yield from (spec.model, spec.loss, spec.optimizer, spec.schedule)
