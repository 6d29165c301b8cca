"""A data file that shrinks, rots or turns to NaN while a run reads it: the run fails and names file, key and row."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainerd.contracts.pages import PulseWriter
from trainerd.data import parquet, residence
from trainerd.training.checkpoints.verify import list_checkpoints, verify

ROWS, FEATURES = 600, 256
EVERY_STEPS = 5
BAD_AT_STEP = 12


def write_hdf5(path: Path, x_BF: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("y", data=x_BF[:, :1])
        file.create_dataset("x", data=x_BF)


def write_parquet(path: Path, x_BF: np.ndarray) -> None:
    columns = {
        name: pa.FixedSizeListArray.from_arrays(values.reshape(-1), values.shape[1])
        for name, values in (("y", x_BF[:, :1]), ("x", x_BF))
    }
    pq.write_table(
        pa.table(columns), path, row_group_size=20, compression="none", use_dictionary=False, write_page_checksum=True
    )


def shrink(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 10)


def rot(path: Path) -> None:
    """Not-a-numbers over nearly all of it, from the front on; what describes the file stays."""
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 10)
        file.write(b"\xff" * (path.stat().st_size * 8 // 10))


@pytest.fixture(autouse=True)
def _read_from_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small data is held in memory otherwise, where nothing can happen to it."""
    monkeypatch.setattr(residence, "HELD_BYTES_LIMIT", 0)
    monkeypatch.setattr(parquet, "_CACHE_BYTES", 0)


def configuration(path: Path, kind: str) -> str:
    field = {"dtype": "float32"}
    return json.dumps(
        {
            "name": "bad",
            "data": {
                "kind": kind,
                "path": str(path),
                "inputs": {"key": "x", "shape": [FEATURES], **field},
                "targets": {"key": "y", "shape": [1], **field},
                "batch_size": 4,
            },
            "model": {"name": "mlp", "args": {"hidden": [8]}},
            "loss": {"name": "mse"},
            "trainer": {"max_epochs": 3, "device": "cpu"},
            "checkpoint": {"every_steps": EVERY_STEPS, "every_minutes": None},
            "resources": {"cpus": 1},
        }
    )


@pytest.mark.parametrize("damage", [shrink, rot])
@pytest.mark.parametrize(("kind", "write"), [("hdf5", write_hdf5), ("parquet", write_parquet)])
def test_data_that_goes_bad_ends_the_run_with_its_place_and_a_checkpoint_before_it(
    make_run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    write: Callable[[Path, np.ndarray], None],
    damage: Callable[[Path], None],
) -> None:
    run, path = run_with_damage(make_run, tmp_path, monkeypatch, kind, write, damage)

    assert run.train() == 1

    [finishing] = run.events("finishing")
    assert (finishing["state"], finishing["reason"]) == ("failed", "data_error")
    assert f"{path}, key x, row " in finishing["error"] or f"{path}, key y, row " in finishing["error"]
    newest = verify(list_checkpoints(run.directory.checkpoints)[0]).manifest.step
    assert newest == finishing["step"] >= BAD_AT_STEP

    write(path, the_data())
    assert run.train() == 0
    assert [resumed["step"] for resumed in run.events("resumed")] == [newest]
    assert run.events("replay_differed") == []


@pytest.mark.parametrize(("kind", "write"), [("hdf5", write_hdf5), ("parquet", write_parquet)])
def test_data_that_is_deleted_is_read_on_by_the_run_that_has_it_open(
    make_run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    write: Callable[[Path, np.ndarray], None],
) -> None:
    """Only its name is gone, until the run ends."""
    run, path = run_with_damage(make_run, tmp_path, monkeypatch, kind, write, Path.unlink)

    assert run.train() == 0

    assert not path.exists()


def the_data() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((ROWS, FEATURES), np.float32)


def run_with_damage(
    make_run: Callable[..., Any],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    write: Callable[[Path, np.ndarray], None],
    damage: Callable[[Path], None],
) -> tuple[Any, Path]:
    """A run whose file is damaged at a step of it, and that file."""
    path = folder / f"samples.{kind}"
    write(path, the_data())
    run = make_run(configuration(path, kind))
    beat = PulseWriter.beat

    def beat_and_damage(pulse: PulseWriter, step: int) -> None:
        beat(pulse, step)
        if step == BAD_AT_STEP:
            damage(path)

    monkeypatch.setattr(PulseWriter, "beat", beat_and_damage)

    return run, path
