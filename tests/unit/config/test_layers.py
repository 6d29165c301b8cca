"""Files that extend files, and overrides on top: which value wins, and where a problem is said to be."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_files import TINY, place, refusal, write

from trainerd.config import compose


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write(tmp_path / "base.yaml", TINY)


def test_mappings_are_merged_and_lists_replaced(base: Path, tmp_path: Path) -> None:
    text = "extends: base.yaml\nmodel: {args: {hidden: [16, 16], dropout: 0.5}}\noptimizer: {weight_decay: 0.1}\n"

    spec = compose(tmp_path / "mine.yaml", text).spec

    assert spec.model.args == {"hidden": [16, 16], "dropout": 0.5}
    assert (spec.optimizer.lr, spec.optimizer.weight_decay) == (1e-3, 0.1)
    assert spec.name == "tiny"


def test_extending_chains_and_the_nearest_file_wins(base: Path, tmp_path: Path) -> None:
    write(tmp_path / "middle.yaml", "extends: base.yaml\nseed: 1\nname: middle\n")

    composed = compose(tmp_path / "top" / "top.yaml", "extends: ../middle.yaml\nname: top\n")

    assert (composed.spec.name, composed.spec.seed) == ("top", 1)
    assert composed.origins["name"] == "top.yaml:2:7"
    assert composed.origins["seed"] == "../middle.yaml:2:7"
    assert composed.origins["optimizer.lr"] == "../base.yaml:5:30"


def test_a_problem_is_located_in_the_file_that_holds_the_key(tmp_path: Path) -> None:
    base = write(tmp_path / "base.yaml", TINY.replace("1e-3", "fast"))
    mine = write(tmp_path / "mine.yaml", "extends: base.yaml\nsede: 3\n")

    findings = refusal(mine)

    assert [(it.file, *place(it)) for it in findings] == [
        (str(base), 5, 30, "optimizer.lr"),
        (str(mine), 2, 1, "sede"),
    ]


def test_a_circle_of_files_is_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "one.yaml", "extends: two.yaml\n")
    two = write(tmp_path / "two.yaml", "extends: one.yaml\n")

    findings = refusal(one)

    assert [(it.file, it.key) for it in findings] == [(str(two), "extends")]


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ("gone.yaml", "cannot be extended: No such file"),
        (".", "cannot be extended: not a regular"),
        ("[a]", "wrong type"),
    ],
)
def test_a_base_that_cannot_be_read_is_the_only_thing_missing(tmp_path: Path, extends: str, message: str) -> None:
    """What the file itself lacks may stand in the base: only the base is missed, and what is wrong anyway."""
    findings = refusal(tmp_path / "mine.yaml", f"extends: {extends}\nseed: x\n")

    assert [it.key for it in findings] == ["extends", "seed"]
    assert findings[0].message.startswith(message)


def test_a_syntax_error_in_the_base_is_located_there(tmp_path: Path) -> None:
    base = write(tmp_path / "base.yaml", "name: [\n")

    findings = refusal(tmp_path / "mine.yaml", "extends: base.yaml\n")

    assert [(it.file, it.line) for it in findings] == [(str(base), 2)]


def test_a_target_takes_the_place_of_the_bases_name_and_arguments(base: Path, tmp_path: Path) -> None:
    composed = compose(tmp_path / "mine.yaml", "extends: base.yaml\nmodel: {target: 'nets:Net'}\n")

    assert (composed.spec.model.name, composed.spec.model.target, composed.spec.model.args) == (None, "nets:Net", {})
    assert [(it.line, "model.args" in it.message) for it in composed.warnings] == [(2, True)]


def test_another_name_takes_the_old_arguments_away_and_the_same_name_keeps_them(base: Path) -> None:
    assert compose(base, overrides=["model.name=cnn", "model.args.channels=4"]).spec.model.args == {"channels": 4}
    assert compose(base, overrides=["model.name=mlp"]).spec.model.args == {"hidden": [8]}


def test_another_kind_of_data_takes_the_whole_section_away(base: Path, tmp_path: Path) -> None:
    (tmp_path / "x.h5").touch()
    data = "{kind: hdf5, path: x.h5, inputs: {key: a, shape: [2]}, targets: {key: b, shape: [1]}, batch_size: 4}"

    composed = compose(tmp_path / "mine.yaml", f"extends: base.yaml\ndata: {data}\n")

    assert composed.spec.data.kind == "hdf5"
    assert composed.spec.data.split is None
    assert "data.samples, data.split" in composed.warnings[0].message


def test_overrides_win_over_files_in_any_order(base: Path) -> None:
    overrides = [
        "optimizer.lr=1e-2",
        "seed=4",
        "trainer={max_epochs: 9}",
        "seed=5",
        "early_stopping=null",
        "loss.args=",
    ]

    findings = refusal(base, None, *overrides)
    spec = compose(base, overrides=overrides[:-1]).spec

    assert [it.key for it in findings] == ["loss.args"]
    assert (spec.optimizer.lr, spec.seed, spec.trainer.max_epochs) == (1e-2, 5, 9)


def test_a_mapping_given_as_an_override_takes_the_place_of_the_section(base: Path) -> None:
    assert compose(base, overrides=["model.args={}"]).spec.model.args == {}
    assert compose(base, overrides=["optimizer={name: sgd}", "optimizer.lr=0.5"]).spec.optimizer.name == "sgd"


def test_the_order_of_overrides_of_different_keys_does_not_matter(base: Path, tmp_path: Path) -> None:
    (tmp_path / "x.h5").touch()
    overrides = ["data.path=x.h5", "data.batch_size=4", "data.inputs={key: a, shape: [2]}", "data.kind=hdf5"]
    overrides += ["data.targets={key: b, shape: [1]}"]

    assert compose(base, overrides=overrides).spec == compose(base, overrides=overrides[::-1]).spec


@pytest.mark.parametrize(
    ("override", "key", "message", "suggestion"),
    [
        ("optimzer.lr=1", "optimzer", "unknown key", "optimizer"),
        ("optimizer.lrr=1", "optimizer.lrr", "unknown key", "lr"),
        ("optimizer.lr=fast", "optimizer.lr", "wrong type", None),
        ("optimizer.lr", None, "not an override", None),
        ("=3", None, "not an override", None),
        ("+optimizer.lr=1", None, "not an override", None),
        ("optimizer..lr=1", None, "not an override", None),
        ("extends=base.yaml", "extends", "extends belongs into a file", None),
        ("seed=[1", "seed", "not YAML", None),
        ("model.args={a: 1, a: 2}", "model.args.a", "duplicate key", None),
        ("seed=!!python/name:os.system x", "seed", "tags are not supported", None),
    ],
)
def test_a_wrong_override_is_located_as_itself(
    base: Path, override: str, key: str | None, message: str, suggestion: str | None
) -> None:
    (finding,) = refusal(base, None, override)

    assert (finding.file, finding.line, finding.key) == (f"override {override!r}", None, key)
    assert finding.message.startswith(message)
    assert finding.suggestion == suggestion


def test_wrong_overrides_are_reported_beside_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    findings = refusal(tmp_path / "run.yaml", "a: [", "optimizer.lr")

    assert [it.message.split(":")[0] for it in findings] == ["not YAML", "not an override"]


def test_what_a_section_lacks_is_missed_in_its_file_also_if_an_override_changes_it(tmp_path: Path) -> None:
    path = write(tmp_path / "run.yaml", TINY.replace("max_epochs: 3", ""))

    (finding,) = refusal(path, None, "trainer.accumulate=2")

    assert (finding.file, *place(finding)) == (str(path), 6, 1, "trainer.max_epochs")


def test_what_another_kind_of_data_lacks_is_missed_where_the_kind_is_chosen(base: Path) -> None:
    findings = refusal(base, None, "data.kind=hdf5")

    assert {it.file for it in findings} == {"override 'data.kind=hdf5'"}
    assert {it.key for it in findings} == {"data.inputs", "data.targets", "data.batch_size", "data.path"}
