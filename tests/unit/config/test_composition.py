"""compose: from a file and overrides to a resolved run, or to everything that is wrong."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from config_files import TINY, place, refusal, write

from trainerd.config import compose
from trainerd.contracts.spec import Hdf5Data, SyntheticData


def test_a_small_file_is_resolved_with_every_default(tmp_path: Path) -> None:
    path = write(tmp_path / "tiny.yaml", TINY)

    spec = compose(path).spec

    assert isinstance(spec.data, SyntheticData)
    assert spec.optimizer.lr == 1e-3
    assert spec.checkpoint.every_minutes == 10
    assert spec.source == str(path)


def test_six_mistakes_in_one_file_are_six_located_findings(tmp_path: Path) -> None:
    """Unknown key, wrong type, `lr: 3e-4x`, missing file, negative patience and duplicate key: all at once."""
    write(tmp_path / "volumes.h5", "")
    path = write(
        tmp_path / "six.yaml",
        """\
name: six
data:
  kind: hdf5
  path: volums.h5
  inputs: {key: noisy, shape: [1, 8]}
  targets: {key: clean, shape: [1, 8]}
  split: {val: 0.2}
  batch_size: many
model: {name: unet3d}
loss: {name: mse}
optimizer: {name: adamw, lr: 3e-4x, wieght_decay: 0.01}
trainer: {max_epochs: 400}
early_stopping: {patience: -5}
loss: {name: cross_entropy}
""",
    )

    findings = refusal(path)

    assert [(*place(it), it.message, it.expected, it.found, it.suggestion) for it in findings] == [
        (
            4,
            9,
            "data.path",
            "the data file cannot be read: No such file or directory",
            "a file",
            str(tmp_path / "volums.h5"),
            "volumes.h5",
        ),
        (8, 15, "data.batch_size", "wrong type", "a whole number above 0", "'many'", None),
        (11, 30, "optimizer.lr", "wrong type", "a number above 0", "'3e-4x'", "3e-4"),
        (11, 37, "optimizer.wieght_decay", "unknown key", None, None, "weight_decay"),
        (13, 28, "early_stopping.patience", "out of range", "a whole number above 0", "-5", None),
        (14, 1, "loss", "duplicate key, first given at line 10, column 1: keep one of the two", None, None, None),
    ]
    assert all(it.file == str(path) for it in findings)


def test_text_given_by_the_caller_is_used_instead_of_the_file(tmp_path: Path) -> None:
    assert compose(tmp_path / "never_written.yaml", TINY).spec.name == "tiny"


def test_origins_name_file_override_or_default(tmp_path: Path) -> None:
    path = write(tmp_path / "tiny.yaml", TINY)

    origins = compose(path, overrides=["seed=3"]).origins

    assert origins["model.args.hidden"] == "tiny.yaml:3:35"
    assert origins["seed"] == "override seed=3"
    assert origins["checkpoint.keep_periodic"] == "default"


def test_a_data_path_is_relative_to_the_file_that_names_it(tmp_path: Path) -> None:
    data = write(tmp_path / "base" / "volumes.h5", "")
    write(
        tmp_path / "base" / "base.yaml",
        """\
name: base
data: {kind: hdf5, path: volumes.h5, inputs: {key: x, shape: [4]}, targets: {key: y, shape: [1]}, batch_size: 8}
model: {name: mlp}
loss: {name: mse}
trainer: {max_epochs: 3}
""",
    )
    path = write(tmp_path / "mine" / "mine.yaml", "extends: ../base/base.yaml\nname: mine\n")

    spec = compose(path).spec

    assert isinstance(spec.data, Hdf5Data)
    assert spec.data.path == str(data)
    assert spec.source == str(path)


def test_an_override_of_the_data_path_is_relative_to_the_configuration(tmp_path: Path) -> None:
    text = TINY.replace("kind: synthetic, samples: 64", "kind: hdf5, path: a.h5").replace("{shape", "{key: k, shape")
    data = write(tmp_path / "b.h5", "")

    spec = compose(tmp_path / "run.yaml", text, ["data.path=b.h5"]).spec

    assert isinstance(spec.data, Hdf5Data)
    assert spec.data.path == str(data)


def test_a_given_source_is_not_looked_at_and_says_so(tmp_path: Path) -> None:
    composed = compose(tmp_path / "run.yaml", TINY + "source: elsewhere.yaml\n")

    assert composed.spec.source == str(tmp_path / "run.yaml")
    assert [warning.key for warning in composed.warnings] == ["source"]


@pytest.mark.parametrize("missing", ["name", "data", "model", "loss", "trainer"])
def test_a_missing_required_key_is_named(tmp_path: Path, missing: str) -> None:
    text = "".join(line for line in TINY.splitlines(keepends=True) if not line.startswith(missing))

    findings = refusal(tmp_path / "run.yaml", text)

    assert [(it.key, it.message) for it in findings] == [(missing, "required key is missing")]
    assert place(findings[0]) == (1, 1, missing)
    assert findings[0].file == str(tmp_path / "run.yaml")


def test_a_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    (finding,) = refusal(tmp_path / "nothing.yaml")

    assert finding.message == "No such file or directory"
    assert finding.file == str(tmp_path / "nothing.yaml")


def test_a_twenty_line_file_is_composed_within_the_time_of_a_submit(tmp_path: Path) -> None:
    """It stands between the order and the first step; the limit leaves room for a busy machine."""
    text = TINY + "schedule: {name: cosine}\nretry: {}\n# why\n" + "checkpoint:\n  every_steps: 100\nresources: {}\n"
    text = text.replace(", ", ",\n  ")
    assert len(text.splitlines()) >= 19
    path = write(tmp_path / "tiny.yaml", text)
    compose(path)

    def seconds() -> float:
        started = time.process_time()
        compose(path)
        return time.process_time() - started

    assert min(seconds() for _ in range(10)) < 0.015
