"""What of a specification has changed since the checkpoint that a run goes on from: applied, or refused.

What decides which samples come next is refused: a position in an epoch means nothing under another order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trainerd.contracts.errors import Finding

_REFUSED_SECTIONS = ("data", "seed", "model", "trainer.accumulate")
_FREE = ("source", "name", "data.path")  # where things lie, and what they are called


def changed_keys(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> (value then, value now) of every leaf that differs, but for names and places."""
    before, after = dict(_leaves(then)), dict(_leaves(now))
    keys = [*before, *(key for key in after if key not in before)]
    return {
        key: (before.get(key), after.get(key)) for key in keys if key not in _FREE and before.get(key) != after.get(key)
    }


def refuse_changes(changes: Mapping[str, tuple[Any, Any]], step: int, epochs_finished: int) -> list[Finding]:
    """A finding for each change that would make the run another run, or end it before where it is."""
    findings = [
        Finding(f"cannot change in a run that has trained to step {step}", key=key, expected=repr(was), found=repr(now))
        for key, (was, now) in changes.items()
        if any(key == section or key.startswith(f"{section}.") for section in _REFUSED_SECTIONS)
    ]
    max_epochs = changes.get("trainer.max_epochs", (None, None))[1]
    if max_epochs is not None and max_epochs < epochs_finished:
        expected = f"at least {epochs_finished}, the epochs already trained"
        findings.append(Finding("too few", key="trainer.max_epochs", expected=expected, found=str(max_epochs)))
    return findings


def _leaves(document: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(document, Mapping) or not document:
        yield path, document
        return
    for key, value in document.items():
        yield from _leaves(value, f"{path}.{key}" if path else str(key))
