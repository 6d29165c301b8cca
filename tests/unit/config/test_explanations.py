"""Every kind of mistake, in plain words, at the key or the value, with what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_files import TINY, place, refusal

HDF5 = TINY.replace("kind: synthetic, samples: 64", "kind: hdf5, path: x.h5")


@pytest.mark.parametrize(
    ("section", "key", "message", "expected", "found", "suggestion"),
    [
        ("seed: 1.5", "seed", "wrong type", "a whole number of at least 0", "1.5", None),
        ("seed: '17'", "seed", "wrong type", "a whole number of at least 0", "'17'", "17"),
        ("seed: null", "seed", "wrong type", "a whole number of at least 0", "null", None),
        ("seed: 9223372036854775808", "seed", "out of range", "below 9223372036854775808", "9223372036854775808", None),
        ("retry: 3", "retry", "wrong type", "a mapping", "3", None),
        ("metrics: {name: mae}", "metrics", "wrong type", "a list of mappings", "a mapping", None),
        ("checkpoint: {every_steps: 1e3}", "checkpoint.every_steps", "wrong type", "above 0", "1e3", "1000"),
        ("checkpoint: {every_minutes: .inf}", "checkpoint.every_minutes", "not a finite number", None, ".inf", None),
        ("resources: {gpus: all}", "resources.gpus", "wrong type", "a whole number, or auto", "'all'", None),
        ("resources: {gpus: -1}", "resources", "gpus must be 0 or more", None, None, None),
        ("resources: {cpu: 2}", "resources.cpu", "unknown key", None, None, "cpus"),
        ("early_stopping: {mode: mim, patience: 3}", "early_stopping.mode", "not one of", "min, max", "'mim'", "min"),
        ("early_stopping: {}", "early_stopping.patience", "required key is missing", "a whole number", None, None),
        ("trainer: {}", "trainer", "duplicate key", None, None, None),
        ("schedule: {target: nocolon}", "schedule.target", "not of the form", "text such as", "'nocolon'", None),
        ("metrics: [{name: mae, nam: x}]", "metrics.0.nam", "unknown key", None, None, "name"),
        ("checkpoint: {keep_periodic: yes}", "checkpoint.keep_periodic", "wrong type", "at least 1", "'yes'", None),
        ("patience: 3", "patience", "unknown key", None, None, "early_stopping.patience"),
        ("zzz: 3", "zzz", "unknown key", None, None, None),
    ],
)  # fmt: skip
def test_a_mistake_is_explained_at_its_key(
    tmp_path: Path,
    section: str,
    key: str,
    message: str,
    expected: str | None,
    found: str | None,
    suggestion: str | None,
) -> None:
    (finding,) = refusal(tmp_path / "run.yaml", TINY + section)

    assert (finding.line, finding.key, finding.found, finding.suggestion) == (7, key, found, suggestion)
    assert finding.message.startswith(message)
    assert expected is None or expected in str(finding.expected)


@pytest.mark.parametrize(
    ("field", "key", "message"),
    [
        ("shape: [4, -1]", "data.inputs.shape.1", "out of range"),
        ("shape: [four]", "data.inputs.shape.0", "wrong type"),
        ("shape: 4", "data.inputs.shape", "wrong type"),
        ("shape: [4], dtype: flot32", "data.inputs.dtype", "not one of the choices"),
        ("shape: [4], range: [1]", "data.inputs.range", "wrong length"),
        ("shape: [4], range: [1, 2, 3]", "data.inputs.range", "wrong length"),
        ("size: [4]", "data.inputs.size", "unknown key"),
    ],
)
def test_the_kind_of_data_is_no_part_of_a_key(tmp_path: Path, field: str, key: str, message: str) -> None:
    """Pydantic's location of these holds the branch of the union, `data.synthetic.inputs`: no key of the user's."""
    findings = refusal(tmp_path / "run.yaml", TINY.replace("inputs: {shape: [4]}", f"inputs: {{{field}}}"))

    assert (key, message) in [(it.key, it.message) for it in findings]
    assert all(it.line == 2 for it in findings)


@pytest.mark.parametrize(
    ("text", "message", "suggestion"),
    [
        (TINY.replace("kind: synthetic", "kind: sinthetic"), "not one of the choices", "synthetic"),
        (TINY.replace("kind: synthetic", "kind: 3"), "not one of the choices", None),
        (TINY.replace("kind: synthetic, ", ""), "required key is missing", None),
    ],
)
def test_an_unknown_or_missing_kind_is_named_with_the_choices(
    tmp_path: Path, text: str, message: str, suggestion: str | None
) -> None:
    (finding,) = refusal(tmp_path / "run.yaml", text)

    assert (finding.key, finding.message, finding.suggestion) == ("data.kind", message, suggestion)
    assert finding.expected == "one of synthetic, hdf5, parquet"


def test_beside_a_misspelt_kind_the_rest_of_the_data_section_is_checked(tmp_path: Path) -> None:
    text = TINY.replace("kind: synthetic", "kind: sinthetic").replace("batch_size: 8", "batch_size: 0")

    assert [it.key for it in refusal(tmp_path / "run.yaml", text)] == ["data.kind", "data.batch_size"]


def test_a_component_is_a_mapping_with_one_origin(tmp_path: Path) -> None:
    text = TINY.replace("{name: mse}", "mse").replace("{name: mlp,", "{name: mlp, target: 'a:B',")

    findings = refusal(tmp_path / "run.yaml", text)

    assert [(*place(it), it.message) for it in findings] == [
        (3, 1, "model", "give either name or target"),
        (4, 7, "loss", "wrong type"),
    ]


def test_fields_of_a_file_need_a_key(tmp_path: Path) -> None:
    (tmp_path / "x.h5").touch()

    findings = refusal(tmp_path / "run.yaml", HDF5)

    assert [it.key for it in findings] == ["data.inputs.key", "data.targets.key"]


def test_a_data_file_that_is_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.h5").mkdir()

    findings = refusal(tmp_path / "run.yaml", HDF5.replace("{shape", "{key: k, shape"))

    assert [(it.key, it.message) for it in findings] == [("data.path", "not a regular file")]


def test_early_stopping_cannot_monitor_a_validation_that_never_happens(tmp_path: Path) -> None:
    text = TINY.replace("split: {val: 0.25}, ", "") + "early_stopping: {patience: 3}\n"

    (finding,) = refusal(tmp_path / "run.yaml", text)

    assert (finding.key, finding.suggestion) == ("early_stopping.monitor", "train_loss")


def test_no_message_speaks_pydantics_language(tmp_path: Path) -> None:
    text = (
        TINY.replace("[4]", "x").replace("1e-3", "[]").replace("mlp", "{}")
        + "retry: 3\nseed: x\nresources: {gpus: x}\n"
    )

    shown = "\n".join(map(str, refusal(tmp_path / "run.yaml", text)))

    assert shown
    assert not any(word in shown for word in ("Input should", "_type", "_parsing", "pydantic", "literal["))


def test_yes_is_text_and_true_is_suggested(tmp_path: Path) -> None:
    text = TINY.replace("batch_size: 8", "batch_size: 8, shuffle: yes")

    (finding,) = refusal(tmp_path / "run.yaml", text)

    assert (finding.key, finding.found, finding.suggestion) == ("data.shuffle", "'yes'", "true")


def test_a_range_in_which_no_value_lies_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    [finding] = refusal(tmp_path / "tiny.yaml", TINY.replace("inputs: {", "inputs: {range: [5, 1], "))

    assert (finding.key, finding.line is not None) == ("data.inputs.range", True)
    assert "no value lies in it" in str(finding)


@pytest.mark.parametrize(("override", "suggestion"), [("name=5", None), ("optimizer.lr=1_0", "10")])
def test_what_is_suggested_would_be_taken(tmp_path: Path, override: str, suggestion: str | None) -> None:
    [finding] = refusal(tmp_path / "tiny.yaml", TINY, override)

    assert finding.suggestion == suggestion
