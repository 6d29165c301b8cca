"""The demo's 3D patches: what must be true of them for a validation loss to mean anything."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import h5py
import numpy as np
import pytest

from demo.build_patches import NOISE, Patches, Place, add_rician_noise, build, choose_places, cut_patches, read_scan


@pytest.fixture(scope="module")
def patches() -> Patches:
    return cut_patches(read_scan(), seed=0)


@pytest.fixture(scope="module")
def places() -> list[Place]:
    return choose_places(np.ones((128, 96, 24), bool), np.random.default_rng(0))


def voxels_of(places: list[Place], *, is_validation: bool) -> np.ndarray:
    """Which voxels of the scan the places of one side hold. bool, shape (128, 96, 24)."""
    held = np.zeros((128, 96, 24), bool)
    for place in places:
        if place.is_validation == is_validation:
            held[place.slices] = True
    return held


def test_no_voxel_is_in_both_training_and_validation(places: list[Place]) -> None:
    """Otherwise the validation loss would measure memory."""
    training, validation = (voxels_of(places, is_validation=side) for side in (False, True))

    assert training.any()
    assert validation.any()
    assert not (training & validation).any()


def test_both_time_frames_of_a_place_are_on_the_same_side() -> None:
    """The frames of one place are almost the same picture. Each voxel here holds its own number, in both frames."""
    numbers = 1000 + np.arange(128 * 96 * 24, dtype=np.float32).reshape(128, 96, 24) % 251
    scan = np.stack([numbers, numbers], axis=3)

    patches = cut_patches(scan, seed=3)

    first, second = patches.clean[0::2], patches.clean[1::2]
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(patches.is_validation[0::2], patches.is_validation[1::2])
    assert not np.array_equal(patches.noisy[0::2], patches.noisy[1::2])


@pytest.mark.parametrize("seed", range(5))
def test_both_sides_have_samples_whatever_the_seed(seed: int) -> None:
    is_validation = cut_patches(read_scan(), seed).is_validation

    assert 0.1 < is_validation.mean() < 0.5


def test_all_values_are_finite_float32_of_the_declared_shape(patches: Patches) -> None:
    for values in (patches.noisy, patches.clean):
        assert values.shape == (len(patches.is_validation), 1, 16, 16, 16)
        assert values.dtype == np.float32
        assert np.isfinite(values).all()


def test_training_patches_are_normalised(patches: Patches) -> None:
    training = patches.clean[patches.is_validation == 0]

    assert abs(training.mean()) < 1e-3
    assert abs(training.std() - 1) < 1e-3


def test_the_noisy_input_is_far_enough_from_the_clean_one_to_be_worth_denoising(patches: Patches) -> None:
    error = ((patches.noisy - patches.clean) ** 2).mean()

    assert 0.1 < error < 1


def test_rician_noise_has_the_variance_of_its_channels_where_the_signal_is_strong() -> None:
    clean = np.full((40, 40, 40), 100.0, np.float32)

    noisy = add_rician_noise(clean, deviation=100 * NOISE / 10, random=np.random.default_rng(1))

    assert (noisy - clean).std() == pytest.approx(2.0, rel=0.02)
    assert noisy.min() >= 0


def test_the_same_seed_makes_the_same_file_and_another_seed_another(tmp_path: Path) -> None:
    seeds = {"first": 0, "again": 0, "other": 1}
    for name, seed in seeds.items():
        build(tmp_path / f"{name}.h5", seed)

    noisy = {}
    for name, key in product(seeds, ("noisy", "clean", "is_validation")):
        with h5py.File(tmp_path / f"{name}.h5") as file:
            noisy[name, key] = file[key][:]

    for key in ("noisy", "clean", "is_validation"):
        np.testing.assert_array_equal(noisy["first", key], noisy["again", key])
    assert noisy["first", "noisy"].shape != noisy["other", "noisy"].shape or not np.array_equal(
        noisy["first", "noisy"], noisy["other", "noisy"]
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.h5", "first.h5", "other.h5"]
