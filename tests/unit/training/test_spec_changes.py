"""Every key of the specification has its place in the table: kept, applied or refused in a run that goes on."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from trainerd.contracts.spec import AnyData, RunSpec
from trainerd.contracts.states import Exactness
from trainerd.training.spec_changes import Change, Standpoint, Verdict, find_changes, refuse_changes, rule_of

SPEC: dict[str, Any] = {
    "name": "a",
    "data": {
        "kind": "synthetic",
        "samples": 64,
        "batch_size": 8,
        "split": {"val": 0.25},
        "inputs": {"shape": [4]},
        "targets": {"shape": [1]},
    },
    "model": {"name": "mlp", "args": {"dropout": 0.1}},
    "loss": {"name": "mse"},
    "optimizer": {"name": "adamw", "lr": 0.1, "args": {"eps": 1e-8}},
    "trainer": {"max_epochs": 40},
}
STOPPING = {"monitor": "val_loss", "patience": 5}


def spec(**sections: Any) -> RunSpec:
    """The specification above, each named section laid over its own."""
    merged = {
        name: {**SPEC.get(name, {}), **given} if isinstance(given, dict) else given for name, given in sections.items()
    }
    return RunSpec.model_validate({**SPEC, **merged})


def changes(now: RunSpec, then: RunSpec | None = None, **standpoint: Any) -> dict[str, Change]:
    at = Standpoint(**{"step": 424, "epochs_finished": 26, "then": then or spec(), **standpoint})
    return {change.key: change for change in find_changes(at, now)}


def verdicts(now: RunSpec, then: RunSpec | None = None, **standpoint: Any) -> dict[str, str]:
    return {key: str(change.rule.verdict) for key, change in changes(now, then, **standpoint).items()}


def keys_of(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Every dotted key that a specification of this model may hold; arguments as one."""
    for name, field in model.model_fields.items():
        key = f"{path}.{name}" if path else name
        kinds = get_args(get_args(AnyData)[0]) if name == "data" else _sections_in(field.annotation)
        if not kinds:
            yield key
        for kind in kinds:
            yield from keys_of(kind, key)


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    if getattr(annotation, "__origin__", None) is list:
        return []
    return [found for part in get_args(annotation) for found in _sections_in(part)]


def test_every_key_of_the_specification_has_its_rule() -> None:
    """A new key has to be thought through before it can be: no default catches it."""
    keys = set(keys_of(RunSpec))
    assert {"data.path", "data.samples", "early_stopping.patience", "resources.cpus", "schedule.args"} <= keys
    for key in keys:
        assert rule_of(key).why


def test_a_key_that_nobody_has_classified_is_an_error() -> None:
    with pytest.raises(KeyError):
        rule_of("trainer.brand_new")


def test_nothing_has_changed_in_the_same_specification() -> None:
    assert changes(spec()) == {}


@pytest.mark.parametrize(
    ("section", "given"),
    [
        *(
            ("data", {key: value})
            for key, value in (("batch_size", 4), ("samples", 32), ("shuffle", False), ("seed", 3))
        ),
        ("data", {"split": {"val": 0.5}}),
        ("data", {"inputs": {"shape": [4], "dtype": "float64"}}),
        ("seed", 9),
        ("model", {"args": {"dropout": 0.2}}),
        ("model", {"name": "cnn"}),
        ("loss", {"name": "cross_entropy"}),
        ("optimizer", {"name": "sgd"}),
        ("optimizer", {"args": {"eps": 1e-8, "amsgrad": True}}),
        ("trainer", {"accumulate": 2}),
        ("trainer", {"max_epochs": 25}),
    ],
)
def test_what_the_saved_state_cannot_follow_is_refused(section: str, given: Any) -> None:
    now = spec(**{section: given})
    assert "refused" in verdicts(now).values()
    at = Standpoint(424, 26, spec())
    [finding, *_] = refuse_changes(find_changes(at, now), 424)
    assert str(finding.key).startswith(section)
    assert "cannot change in a run that has trained to step 424" in finding.message
    assert finding.expected
    assert finding.found


@pytest.mark.parametrize(
    ("section", "given", "effect"),
    [
        ("name", "b", Exactness.EXACT),
        ("data", {"inputs": {"shape": [4], "finite": False}}, Exactness.EXACT),
        ("metrics", [{"name": "mae"}], Exactness.EXACT),
        ("trainer", {"max_epochs": 50}, Exactness.EXACT),
        ("trainer", {"max_epochs": 26}, Exactness.EXACT),
        ("trainer", {"log_every_steps": 3}, Exactness.EXACT),
        ("trainer", {"device": "cpu"}, Exactness.EXACT),
        ("early_stopping", STOPPING, Exactness.EXACT),
        ("checkpoint", {"every_steps": 7}, Exactness.EXACT),
        ("resources", {"gpus": 0}, Exactness.EXACT),
        ("retry", {"max_failures": 9}, Exactness.EXACT),
        ("trainer", {"deterministic": True}, Exactness.WITHIN_TOLERANCE),
        ("trainer", {"precision": "bf16"}, Exactness.DIVERGED_ON_RESUME),
        ("trainer", {"grad_clip": 1.0}, Exactness.DIVERGED_ON_RESUME),
        ("optimizer", {"lr": 0.2}, Exactness.DIVERGED_ON_RESUME),
        ("optimizer", {"weight_decay": 0.2}, Exactness.DIVERGED_ON_RESUME),
        ("optimizer", {"args": {"eps": 1e-6}}, Exactness.DIVERGED_ON_RESUME),
        ("schedule", {"name": "cosine"}, Exactness.DIVERGED_ON_RESUME),
        ("schedule", {"warmup_steps": 5}, Exactness.DIVERGED_ON_RESUME),
        ("loss", {"args": {"label_smoothing": 0.1}}, Exactness.DIVERGED_ON_RESUME),
    ],
)
def test_all_else_is_applied_and_says_what_that_does_to_the_steps(section: str, given: Any, effect: Exactness) -> None:
    found = changes(spec(**{section: given}))
    assert found
    assert {change.rule.verdict for change in found.values()} == {Verdict.APPLIED}
    assert max((change.rule.effect for change in found.values()), key=list(Exactness).index) == effect


def test_the_number_of_threads_is_kept() -> None:
    assert verdicts(spec(resources={"cpus": 3})) == {"resources.cpus": "kept"}


def test_more_epochs_change_the_steps_where_the_schedule_spans_them() -> None:
    cosine = {"schedule": {"name": "cosine"}}
    [change] = changes(spec(trainer={"max_epochs": 50}, **cosine), spec(**cosine)).values()
    assert change.rule.effect == Exactness.DIVERGED_ON_RESUME


def test_the_arguments_of_a_loss_that_keeps_a_state_are_refused() -> None:
    """The state was made with them: a loss that is given both would not be what either says."""
    now = spec(loss={"args": {"label_smoothing": 0.1}})
    assert verdicts(now, loss_has_state=True) == {"loss.args.label_smoothing": "refused"}


def test_another_monitor_is_refused_once_there_is_a_best_value_of_the_former() -> None:
    now = spec(early_stopping={"monitor": "train_loss", "patience": 5})
    found = verdicts(now)
    assert found["early_stopping.monitor"] == "refused"
    assert found["early_stopping.patience"] == "applied"
    assert set(verdicts(now, epochs_finished=0).values()) == {"applied"}


def test_the_monitored_metric_is_not_replaced_by_another_of_the_same_name() -> None:
    stopping = {**STOPPING, "monitor": "val_error"}
    then = spec(early_stopping=stopping, metrics=[{"target": "first:error"}])
    now = spec(early_stopping=stopping, metrics=[{"target": "second:error"}])
    more = spec(early_stopping=stopping, metrics=[{"target": "first:error"}, {"name": "mae"}])

    assert verdicts(now, then) == {"metrics": "refused"}
    assert verdicts(now, then, epochs_finished=0) == {"metrics": "applied"}
    assert verdicts(more, then) == {"metrics": "applied"}


def test_early_stopping_may_be_turned_on_and_off_and_made_more_patient() -> None:
    on = spec(early_stopping=STOPPING)
    assert set(verdicts(on).values()) == {"applied"}
    assert set(verdicts(spec(), on).values()) == {"applied"}
    assert verdicts(spec(early_stopping={**STOPPING, "patience": 9}), on) == {"early_stopping.patience": "applied"}


def test_a_change_is_told_on_one_line_with_both_values() -> None:
    [change] = changes(spec(optimizer={"lr": 0.2})).values()
    assert str(change).startswith("optimizer.lr: 0.1 -> 0.2: applied (")
    assert change.to_json()["verdict"] == "applied"
