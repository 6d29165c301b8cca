"""Builds an HDF5 file of noisy and clean 3D patches from the MRI scan that nibabel ships (example4d.nii.gz).

Pure functions of the scan and a seed; only `build` reads and writes files. The scan is cut into blocks that do not
overlap; a block trains or validates as a whole, with all its places and both its time frames, so that no voxel of the
brain is on both sides.

Shapes: S = samples, X, Y, Z = voxels along the scan's axes, T = time frames.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

PATCH_EDGE = 16  # voxels
BLOCK_EDGE = 32  # voxels along x and y; a block is as high as the scan
STEPS_XYZ = (8, 8, 8)  # voxels between neighbouring places inside a block
VALIDATION_SHARE = 0.25  # of the blocks that hold enough brain
MINIMUM_BRAIN = 0.5  # share of a patch that has to be brain, else the place is left out
NOISE = 0.2  # standard deviation of the receiver's noise, as a share of the brain's typical intensity

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Place:
    """Where a patch is cut from: its lowest corner, and which side it is on."""

    corner: tuple[int, int, int]
    is_validation: bool

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        x, y, z = (slice(start, start + PATCH_EDGE) for start in self.corner)
        return x, y, z


@dataclass(frozen=True)
class Patches:
    """Samples of one file, float32, shape (S, 1, 16, 16, 16); `is_validation` is uint8, shape (S,)."""

    noisy: Floats
    clean: Floats
    is_validation: NDArray[np.uint8]


def build(path: Path, seed: int = 0) -> Patches:
    """Write the patches to `path` (data sets noisy, clean, is_validation), in one rename; returns them too."""
    patches = cut_patches(read_scan(), seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with h5py.File(unfinished, "w") as file:
        file["noisy"], file["clean"], file["is_validation"] = patches.noisy, patches.clean, patches.is_validation
    os.replace(unfinished, path)
    return patches


def read_scan() -> Floats:
    """The scan that nibabel ships for its own tests: an EPI series, intensities from 0, shape (X, Y, Z, T)."""
    import nibabel

    shipped = Path(nibabel.__file__).parent / "tests/data/example4d.nii.gz"
    return nibabel.Nifti1Image.from_filename(shipped).get_fdata(dtype=np.float32)


def cut_patches(scan_XYZT: Floats, seed: int) -> Patches:
    """Noisy and clean patches of every place that holds enough brain, in each time frame.

    Both are normalised alike: mean 0 and standard deviation 1 over the clean training patches.
    """
    random = np.random.default_rng(seed)
    brain_intensity = float(np.median(scan_XYZT[scan_XYZT > scan_XYZT.mean()]))
    noisy_XYZT = add_rician_noise(scan_XYZT, NOISE * brain_intensity, random)
    places = choose_places(scan_XYZT.mean(axis=3) > brain_intensity / 3, random)
    is_validation = np.array([place.is_validation for place in places for _ in range(scan_XYZT.shape[3])], np.uint8)
    clean, noisy = (_cut(volume, places) for volume in (scan_XYZT, noisy_XYZT))
    training = clean[is_validation == 0]
    mean, deviation = training.mean(), training.std()
    return Patches((noisy - mean) / deviation, (clean - mean) / deviation, is_validation)


def add_rician_noise(clean: Floats, deviation: float, random: np.random.Generator) -> Floats:
    """What a receiver with Gaussian noise in both channels makes of a magnitude image.

    Gudbjartsson and Patz, The Rician distribution of noisy MRI data, 1995, equation 1. Same shape and unit as `clean`.
    """
    real, imaginary = random.normal(scale=deviation, size=(2, *clean.shape)).astype(np.float32)
    noisy: Floats = np.hypot(clean + real, imaginary)
    return noisy


def choose_places(is_brain_XYZ: NDArray[np.bool_], random: np.random.Generator) -> list[Place]:
    """All places with enough brain; a random share of the blocks, at least one, validates."""
    blocks = {block: corners for block in _blocks(is_brain_XYZ.shape) if (corners := _corners(block, is_brain_XYZ))}
    count = max(1, round(VALIDATION_SHARE * len(blocks)))
    chosen = {list(blocks)[index] for index in random.choice(len(blocks), size=count, replace=False)}
    return [Place(corner, block in chosen) for block, corners in blocks.items() for corner in corners]


def _blocks(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """The lowest x and y of every whole block."""
    x_starts, y_starts = (range(0, length - BLOCK_EDGE + 1, BLOCK_EDGE) for length in shape[:2])
    return list(product(x_starts, y_starts))


def _corners(block: tuple[int, int], is_brain_XYZ: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """The corners of the patches of one block that hold enough brain."""
    starts = (*block, 0)
    lengths = (BLOCK_EDGE, BLOCK_EDGE, is_brain_XYZ.shape[2])
    axes = [
        range(start, start + length - PATCH_EDGE + 1, step)
        for start, length, step in zip(starts, lengths, STEPS_XYZ, strict=True)
    ]
    return [
        (x, y, z) for x, y, z in product(*axes) if is_brain_XYZ[Place((x, y, z), False).slices].mean() >= MINIMUM_BRAIN
    ]


def _cut(volume_XYZT: Floats, places: list[Place]) -> Floats:
    """Patches of all places, both frames of a place side by side. Shape (S, 1, 16, 16, 16)."""
    patches = [volume_XYZT[place.slices][..., frame] for place in places for frame in range(volume_XYZT.shape[3])]
    return np.stack(patches)[:, np.newaxis].astype(np.float32)
