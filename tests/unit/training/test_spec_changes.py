"""What may change in a run that goes on is applied and named; what would make it another run is refused."""

from trainerd.training.spec_changes import changed_keys, refuse_changes

THEN = {
    "name": "a",
    "seed": 1,
    "data": {"path": "/old/x.h5", "batch_size": 32},
    "optimizer": {"lr": 0.1},
    "early_stopping": None,
}


def test_names_and_places_may_change_without_a_word() -> None:
    now = {**THEN, "name": "b", "data": {"path": "/new/x.h5", "batch_size": 32}}
    assert changed_keys(THEN, now) == {}


def test_every_changed_leaf_is_named_with_both_values() -> None:
    now = {**THEN, "optimizer": {"lr": 0.2}, "early_stopping": {"patience": 5}}
    assert changed_keys(THEN, now) == {"optimizer.lr": (0.1, 0.2), "early_stopping.patience": (None, 5)}


def test_what_decides_the_next_samples_is_refused() -> None:
    changes = {"data.batch_size": (32, 16), "seed": (1, 2), "trainer.accumulate": (1, 2), "optimizer.lr": (0.1, 0.2)}
    findings = refuse_changes(changes, step=7, epochs_finished=1)
    assert [finding.key for finding in findings] == ["data.batch_size", "seed", "trainer.accumulate"]


def test_fewer_epochs_than_were_trained_are_refused() -> None:
    [finding] = refuse_changes({"trainer.max_epochs": (3000, 10)}, step=424, epochs_finished=26)
    assert finding.key == "trainer.max_epochs"
    assert refuse_changes({"trainer.max_epochs": (3000, 26)}, step=424, epochs_finished=26) == []
