"""Which samples train and which validate."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainerd.contracts.errors import SpecificationRefused
from trainerd.contracts.spec import Hdf5Data, SampleField, Split, SyntheticData
from trainerd.data import Source, open_source, split_samples


def synthetic(samples: int) -> Source:
    return open_source(
        SyntheticData(
            kind="synthetic",
            samples=samples,
            inputs=SampleField(shape=[2]),
            targets=SampleField(shape=[1]),
            batch_size=4,
        )
    )


@settings(deadline=None)
@given(count=st.integers(2, 500), fraction=st.floats(0.001, 0.999), seed=st.integers(0, 2**32))
def test_training_and_validation_share_no_sample_and_miss_none(count: int, fraction: float, seed: int) -> None:
    """Both sides have samples, and together they are the data set."""
    training, validation = split_samples(synthetic(count), Split(val=fraction, seed=seed))

    assert sorted([*training, *validation]) == list(range(count))
    assert len(training) >= 1
    assert len(validation) >= 1


@pytest.mark.parametrize(
    ("count", "fraction", "validating"),
    [(100, 0.2, 20), (10, 0.25, 3), (10, 0.24, 2), (2048, 0.25, 512), (2, 0.01, 1), (2, 0.99, 1), (3, 0.99, 2)],
)
def test_a_fraction_is_rounded_to_the_nearest_number_of_samples(count: int, fraction: float, validating: int) -> None:
    """Halves are rounded up; each side keeps at least one sample."""
    _, validation = split_samples(synthetic(count), Split(val=fraction))

    assert len(validation) == validating


def test_without_a_split_everything_trains() -> None:
    training, validation = split_samples(synthetic(5), None)

    assert training.tolist() == [0, 1, 2, 3, 4]
    assert validation.tolist() == []


def test_the_seed_of_the_split_alone_decides() -> None:
    """The same seed gives the same sides, another seed others."""
    chosen = [tuple(split_samples(synthetic(100), Split(val=0.2, seed=seed))[1]) for seed in (0, 0, 1)]

    assert chosen[0] == chosen[1] != chosen[2]


def test_a_single_sample_cannot_be_split() -> None:
    with pytest.raises(SpecificationRefused) as refusal:
        split_samples(synthetic(1), Split(val=0.5))

    assert refusal.value.findings[0].key == "data.split.val"
    assert "no validation samples" in str(refusal.value)


def marked(path: Path, marks: np.ndarray) -> Source:
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros((4, 2), np.float32)
        file["y"] = np.zeros((4, 1), np.float32)
        file["is_validation"] = marks
    x, y = SampleField(key="x", shape=[2]), SampleField(key="y", shape=[1])
    return open_source(Hdf5Data(kind="hdf5", path=str(path), inputs=x, targets=y, batch_size=2))


def test_a_key_in_the_file_marks_the_samples_that_validate(tmp_path: Path) -> None:
    source = marked(tmp_path / "data.h5", np.array([0, 1, 0, 2], np.uint8))

    training, validation = split_samples(source, Split(key="is_validation"))

    assert training.tolist() == [0, 2]
    assert validation.tolist() == [1, 3]


@pytest.mark.parametrize(("marks", "side"), [([0, 0, 0, 0], "validation"), ([1, 1, 1, 1], "training")])
def test_a_key_that_leaves_a_side_empty_is_refused(tmp_path: Path, marks: list[int], side: str) -> None:
    source = marked(tmp_path / "data.h5", np.array(marks))

    with pytest.raises(SpecificationRefused, match=f"no {side} samples"):
        split_samples(source, Split(key="is_validation"))


@pytest.mark.parametrize(
    ("marks", "key", "message"),
    [
        ([0, 1, 0, 1], "is_validatoin", "did you mean is_validation"),
        ([0, 1, 0], "is_validation", "expected 4 numbers, found shape [3] of int64"),
        ([[0], [1], [0], [0]], "is_validation", "expected 4 numbers, found shape [4, 1] of int64"),
        ([b"a", b"b", b"c", b"d"], "is_validation", "expected 4 numbers, found shape [4] of |S1"),
    ],
)
def test_a_key_that_cannot_mark_samples_is_refused(tmp_path: Path, marks: list[object], key: str, message: str) -> None:
    source = marked(tmp_path / "data.h5", np.array(marks))

    with pytest.raises(SpecificationRefused) as refusal:
        split_samples(source, Split(key=key))

    assert message in str(refusal.value)


def test_synthetic_data_has_no_marks() -> None:
    with pytest.raises(SpecificationRefused, match=r"give data\.split\.val"):
        split_samples(synthetic(4), Split(key="fold"))
