"""Configurations on disk for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

from trainerd.config import compose
from trainerd.contracts.errors import Finding, SpecificationRefused

TINY = """\
name: tiny
data: {kind: synthetic, samples: 64, inputs: {shape: [4]}, targets: {shape: [1]}, split: {val: 0.25}, batch_size: 8}
model: {name: mlp, args: {hidden: [8]}}
loss: {name: mse}
optimizer: {name: adamw, lr: 1e-3}
trainer: {max_epochs: 3}
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path, text: str | None = None, *overrides: str) -> list[Finding]:
    """Why a configuration is refused; empty if it is not."""
    try:
        compose(path, text, overrides)
    except SpecificationRefused as refused:
        return refused.findings
    return []


def place(finding: Finding) -> tuple[int | None, int | None, str | None]:
    return finding.line, finding.column, finding.key
