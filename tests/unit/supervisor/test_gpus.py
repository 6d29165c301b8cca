"""Which GPUs there are, and how many a run takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_records import a_spec

from trainerd.contracts.settings import Settings
from trainerd.supervisor.gpus import find_gpus, gpus_needed


def test_the_uuids_are_read_from_the_drivers_files(tmp_path: Path) -> None:
    for name, uuid in (("0000:02:00.0", "GPU-b"), ("0000:01:00.0", "GPU-a"), ("0000:03:00.0", "GPU-????")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "information").write_text(f"Model: \t\t NVIDIA\nGPU UUID: \t {uuid}\nBus Type: \t PCIe\n")
    assert find_gpus(Settings(), tmp_path) == ("GPU-a", "GPU-b")


def test_the_settings_decide_where_they_name_gpus(tmp_path: Path) -> None:
    assert find_gpus(Settings(gpus=("GPU-x",)), tmp_path) == ("GPU-x",)
    assert find_gpus(Settings(), tmp_path / "no driver") == ()


@pytest.mark.parametrize(
    ("asked", "device", "there", "needed"),
    [("auto", "auto", 2, 1), ("auto", "auto", 0, 0), ("auto", "cpu", 2, 0), (2, "auto", 1, 2), (0, "auto", 2, 0)],
)
def test_auto_is_one_gpu_if_there_is_one(asked: int | str, device: str, there: int, needed: int) -> None:
    assert gpus_needed({**a_spec(gpus=asked), "trainer": {"device": device}}, there) == needed
