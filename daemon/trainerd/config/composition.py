"""A configuration file, what it extends and the overrides, resolved into a RunSpec or refused with all its problems.

The one way from YAML to a RunSpec: the inspector, `trainerd train` and `trainctl check` all come through here. Reads
configuration files and looks whether the data file exists; opens no data, imports no target, knows no registered names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from trainerd.config import rules
from trainerd.config.explain import explain
from trainerd.config.layers import Layers, read_layers
from trainerd.config.origins import origins_of
from trainerd.config.tree import plain
from trainerd.contracts.errors import Finding, SpecificationRefused
from trainerd.contracts.spec import RunSpec


@dataclass(frozen=True)
class Composed:
    """A resolved configuration."""

    spec: RunSpec
    origins: dict[str, str]  # dotted key -> where its value was given, or "default"
    warnings: list[Finding]


def compose(path: Path, text: str | None = None, overrides: Sequence[str] = ()) -> Composed:
    """The run that the file at `path` describes, under `overrides` (`optimizer.lr=1e-3`).

    `text` is the file's content where the caller has read it already. `spec.source` is the absolute path; `data.path`
    is made absolute relative to the file that names it, or to `path` where an override does. Where an upper file or an
    override names another component or another kind of data, the old arguments go (see merging).

    Raises: SpecificationRefused with every problem found, each with its place.
    """
    layers = read_layers(path, text, overrides)
    spec, findings = _resolve(layers, os.path.abspath(path))
    if spec is None or findings:
        raise SpecificationRefused(in_reading_order(findings))
    return Composed(spec, origins_of(spec, layers.tree), layers.warnings + rules.warn(layers.tree))


def _resolve(layers: Layers, source: str) -> tuple[RunSpec | None, list[Finding]]:
    tree, misspelt = rules.with_nearest_kind(rules.with_absolute_data_path(layers.tree))
    findings = [*layers.findings, *misspelt, *(rules.check(tree) if layers.is_complete else [])]
    document = json.dumps({**plain(tree), "source": source})
    try:
        return RunSpec.model_validate_json(document, strict=True), findings
    except ValidationError as error:
        return None, [*findings, *explain(error, tree, is_complete=layers.is_complete)]


def in_reading_order(findings: list[Finding]) -> list[Finding]:
    """Each problem once (the first that was found of a place and key), file by file and from top to bottom."""
    once = {(finding.file, finding.line, finding.column, finding.key): finding for finding in reversed(findings)}
    return sorted(once.values(), key=lambda it: (it.line is None, it.file or "", it.line or 0, it.column or 0))
