"""What of a specification has changed since the checkpoint that a run goes on from: kept, applied, or refused, and why.

One table over every key. Refused is what the saved state cannot follow: other samples or another order of them (a
position in an epoch means nothing then), another model. Kept is what the checkpoint decides. All else is applied.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from trainerd.contracts.errors import Finding
from trainerd.contracts.spec import RunSpec
from trainerd.contracts.states import Exactness
from trainerd.training.monitors import monitored_metrics


class Verdict(StrEnum):
    """What becomes of a changed key."""

    KEPT = "kept"
    APPLIED = "applied"
    REFUSED = "refused"


@dataclass(frozen=True)
class Rule:
    """What becomes of a key's change, why, and what applying it does to the steps (exact: nothing)."""

    verdict: Verdict
    why: str
    effect: Exactness = Exactness.EXACT


@dataclass(frozen=True)
class Standpoint:
    """Where a run stands whose specification is to change."""

    step: int
    epochs_finished: int
    then: RunSpec
    loss_has_state: bool = False


@dataclass(frozen=True)
class Change:
    """One changed key."""

    key: str
    was: Any
    now: Any
    rule: Rule

    def to_json(self) -> dict[str, Any]:
        return {"key": self.key, "was": self.was, "now": self.now, "verdict": self.rule.verdict, "why": self.rule.why}

    def __str__(self) -> str:
        return describe_change(self.to_json())


def describe_change(change: Mapping[str, Any]) -> str:
    """A changed key (as `Change.to_json` gives it) on one line."""
    was, now = json.dumps(change["was"]), json.dumps(change["now"])
    return f"{change['key']}: {was} -> {now}: {change['verdict']} ({change['why']})"


def _refused(why: str) -> Rule:
    return Rule(Verdict.REFUSED, why)


def _applied(why: str, effect: Exactness = Exactness.EXACT) -> Rule:
    return Rule(Verdict.APPLIED, why, effect)


_ANOTHER_RUN = Exactness.DIVERGED_ON_RESUME
_FROM_NOW_ON = "from the next step on"
_SAMPLES = _refused("it decides which samples come next; a position in an epoch means nothing under others")
_STANDING = _refused("the best value so far is of the metric that was watched before")

# The rule of a key is that of the longest entry that it equals or lies below.
_TABLE: Mapping[str, Rule] = {
    "name": _applied("a name"),
    "source": _applied("where the configuration lies, and where targets are imported from"),
    "seed": _refused("it decides the order of the samples, and has decided the first weights"),
    "data": _SAMPLES,
    "data.path": _applied("where the file lies; whether it holds the same data is looked at by itself"),
    "data.inputs.range": _applied("what is accepted when it is read"),
    "data.inputs.finite": _applied("what is accepted when it is read"),
    "data.targets.range": _applied("what is accepted when it is read"),
    "data.targets.finite": _applied("what is accepted when it is read"),
    "model": _refused("the saved weights are this model's"),
    "loss": _refused("all that was measured so far is of this loss"),
    "loss.args": _applied(f"{_FROM_NOW_ON}; the best value so far stays, as it was measured before", _ANOTHER_RUN),
    "metrics": _applied("from the next validation on"),
    "optimizer": _refused("the saved state is this optimizer's"),
    "optimizer.lr": _applied(_FROM_NOW_ON, _ANOTHER_RUN),
    "optimizer.weight_decay": _applied(_FROM_NOW_ON, _ANOTHER_RUN),
    "optimizer.args": _applied(_FROM_NOW_ON, _ANOTHER_RUN),
    "optimizer.args.amsgrad": _refused("the saved state is not made for it"),
    "schedule": _applied(f"{_FROM_NOW_ON}, at the step where the run stands", _ANOTHER_RUN),
    "trainer.max_epochs": _applied("the run ends later or sooner, at the end of an epoch"),
    "trainer.precision": _applied(_FROM_NOW_ON, _ANOTHER_RUN),
    "trainer.grad_clip": _applied(_FROM_NOW_ON, _ANOTHER_RUN),
    "trainer.accumulate": _refused("it decides which batches make a step"),
    "trainer.device": _applied("where it computes; another device rounds differently"),  # `environment` tells which
    "trainer.deterministic": _applied("other algorithms round differently", Exactness.WITHIN_TOLERANCE),
    "trainer.log_every_steps": _applied(_FROM_NOW_ON),
    "early_stopping": _applied("at the next epoch's end; the best value so far stays"),
    "checkpoint": _applied(_FROM_NOW_ON),
    "resources.gpus": _applied("at the next start"),
    "resources.cpus": Rule(Verdict.KEPT, "the run keeps its number of threads: its sums depend on it"),
    "retry": _applied("at the next failure"),
}


def rule_of(key: str) -> Rule:
    """The table's word on a dotted key. Raises KeyError for one that it does not know."""
    known = [entry for entry in _TABLE if key == entry or key.startswith(f"{entry}.")]
    if not known:
        raise KeyError(key)
    return _TABLE[max(known, key=len)]


def find_changes(at: Standpoint, now: RunSpec) -> list[Change]:
    """Every leaf that differs, in the order of the specification, with what becomes of it."""
    before, after = (dict(_leaves(spec.model_dump(mode="json"))) for spec in (at.then, now))
    keys = [*before, *(key for key in after if key not in before)]
    changed = [key for key in keys if before.get(key) != after.get(key)]
    return [Change(key, before.get(key), after.get(key), _decide(key, at, now)) for key in changed]


def refuse_changes(changes: list[Change], step: int) -> list[Finding]:
    """A finding for each change that would make the run another run, or end it before where it is."""
    return [
        Finding(
            f"cannot change in a run that has trained to step {step}: {change.rule.why}",
            key=change.key,
            expected=repr(change.was),
            found=repr(change.now),
        )
        for change in changes
        if change.rule.verdict is Verdict.REFUSED
    ]


def _decide(key: str, at: Standpoint, now: RunSpec) -> Rule:
    """The table's rule, where the run's own standing does not say otherwise."""
    if key == "trainer.max_epochs":
        return _decide_max_epochs(at, now)
    if key.startswith("loss.args") and at.loss_has_state:
        return _refused("the loss keeps a state, which was made with it")
    if key in ("early_stopping.monitor", "early_stopping.mode") and _watches_another(at, now):
        return _STANDING
    if key == "metrics" and _measures_otherwise(at, now):
        return _STANDING
    return rule_of(key)


def _watches_another(at: Standpoint, now: RunSpec) -> bool:
    """Whether values of one metric would be held against the best of another."""
    return bool(at.epochs_finished) and None not in (at.then.monitor, now.monitor) and at.then.monitor != now.monitor


def _measures_otherwise(at: Standpoint, now: RunSpec) -> bool:
    """Whether the metric that is watched before and after is not the same one any more."""
    is_watched_still = bool(at.epochs_finished) and at.then.monitor == now.monitor
    return is_watched_still and monitored_metrics(at.then) != monitored_metrics(now)


def _decide_max_epochs(at: Standpoint, now: RunSpec) -> Rule:
    if now.trainer.max_epochs < at.epochs_finished:
        return _refused(f"too few: {at.epochs_finished} epochs are trained already")
    spans_the_run = now.schedule.target is not None or now.schedule.name == "cosine"
    if spans_the_run:
        return _applied("the schedule stretches over the new number of epochs", _ANOTHER_RUN)
    return rule_of("trainer.max_epochs")


def _leaves(document: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(document, Mapping):
        yield path, document
        return
    for key, value in document.items():
        yield from _leaves(value, f"{path}.{key}" if path else str(key))
