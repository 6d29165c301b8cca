"""Synthetic samples: sine waves of any shape, the same bits however one asks for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from trainerd.contracts.spec import SampleField, SyntheticData
from trainerd.data import Source, check_values, open_source


def synthetic(inputs: dict[str, Any], targets: dict[str, Any], samples: int = 400, seed: int = 0) -> SyntheticData:
    return SyntheticData(
        kind="synthetic",
        samples=samples,
        seed=seed,
        inputs=SampleField(**inputs),
        targets=SampleField(**targets),
        batch_size=8,
    )


def everything(source: Source) -> tuple[torch.Tensor, torch.Tensor]:
    batch = source.gather(np.arange(len(source)))
    return batch.inputs[0], batch.targets[0]


FORMS = [
    ({"shape": [16]}, {"shape": [1]}),
    ({"shape": []}, {"shape": []}),
    ({"shape": [1, 4, 5, 6]}, {"shape": [1, 4, 5, 6]}),
    ({"shape": [3, 8], "dtype": "float64"}, {"shape": [], "dtype": "int64"}),
    ({"shape": [8], "dtype": "float16", "range": (0.1, 0.7)}, {"shape": [2], "dtype": "float16", "range": (-5, -4)}),
    ({"shape": [2, 9], "dtype": "uint8", "range": (0, 255)}, {"shape": [4], "dtype": "float32"}),
    ({"shape": [7], "dtype": "bool"}, {"shape": [7], "dtype": "bool"}),
    ({"shape": [7], "dtype": "int8"}, {"shape": [3, 2], "dtype": "int32", "range": (1, 3)}),
]


@pytest.mark.parametrize(("inputs", "targets"), FORMS)
def test_a_sample_is_the_same_bits_alone_and_among_others(inputs: dict[str, Any], targets: dict[str, Any]) -> None:
    """A sample is a function of the seed and its index, and of nothing else."""
    source = open_source(synthetic(inputs, targets))
    x_all, y_all = everything(source)
    asked = np.array([399, 0, 7, 7, 200])

    batch = source.gather(asked)

    assert torch.equal(batch.inputs[0], x_all[asked])
    assert torch.equal(batch.targets[0], y_all[asked])
    for index in asked:
        alone = source.gather(np.array([index]))
        assert torch.equal(alone.inputs[0][0], x_all[index])
        assert torch.equal(alone.targets[0][0], y_all[index])


@pytest.mark.parametrize(("inputs", "targets"), FORMS)
def test_samples_are_what_the_configuration_declares(inputs: dict[str, Any], targets: dict[str, Any]) -> None:
    """Shape, dtype, range; and they are not all equal."""
    data = synthetic(inputs, targets)
    source = open_source(data)

    for values, declared in zip(everything(source), (data.inputs, data.targets), strict=True):
        assert values.shape == (400, *declared.shape)
        assert str(values.dtype) == f"torch.{declared.dtype}"
        assert len(torch.unique(values.to(torch.float64))) > 1
    assert check_values(source, data) == []


def test_another_seed_gives_other_samples_and_another_fingerprint() -> None:
    sources = [open_source(synthetic({"shape": [4]}, {"shape": [1]}, seed=seed)) for seed in (0, 0, 1)]
    inputs = [everything(source)[0] for source in sources]

    assert torch.equal(inputs[0], inputs[1])
    assert not torch.equal(inputs[0], inputs[2])
    assert sources[0].fingerprint() == sources[1].fingerprint() != sources[2].fingerprint()


def test_targets_of_the_same_shape_are_the_clean_waves() -> None:
    """The noise is uniform in [-0.3, 0.3], so its mean square is 0.03."""
    x, y = everything(open_source(synthetic({"shape": [1, 8, 8, 8]}, {"shape": [1, 8, 8, 8]})))

    assert (x - y).abs().max() <= 0.3 + 1e-6
    assert (x - y).square().mean() == pytest.approx(0.03, rel=0.02)


def test_integer_targets_are_balanced_classes_of_the_frequency() -> None:
    """Ten classes without a range; every one occurs about equally often."""
    _, y = everything(open_source(synthetic({"shape": [32]}, {"shape": [], "dtype": "int64"}, samples=5000)))

    counts = torch.bincount(y, minlength=10)

    assert len(counts) == 10
    assert counts.min() > 400


def test_the_range_of_integer_targets_counts_the_classes() -> None:
    targets = {"shape": [], "dtype": "int64", "range": (0, 3)}
    _, y = everything(open_source(synthetic({"shape": [32]}, targets)))

    assert torch.unique(y).tolist() == [0, 1, 2, 3]


def test_other_targets_are_learnable() -> None:
    """One layer of 500 random tanh units explains nine tenths of the variance of targets that it has not seen."""
    x, y = (
        values.double().numpy() for values in everything(open_source(synthetic({"shape": [16]}, {"shape": [1]}, 2048)))
    )
    random = np.random.default_rng(0)
    hidden = np.tanh(x @ random.standard_normal((16, 500)) * 0.3 + random.standard_normal(500))
    weights = np.linalg.solve(hidden[:1536].T @ hidden[:1536] + 0.01 * np.eye(500), hidden[:1536].T @ y[:1536])

    unexplained = np.square(hidden[1536:] @ weights - y[1536:]).mean() / y[1536:].var()

    assert unexplained < 0.1
