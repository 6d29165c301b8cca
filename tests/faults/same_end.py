"""Whether two small runs of the same configuration have ended in the very same bits, whatever has come between."""

from __future__ import annotations

import json

from small_runs import EPOCHS, STEPS_PER_EPOCH

from tests.frozen_trainer import newest_checkpoint, points
from trainerd.contracts.run_directory import RunDirectory

STEPS = EPOCHS * STEPS_PER_EPOCH


def assert_same_end(directory: RunDirectory, expected: RunDirectory) -> None:
    """The same tensors, losses and product, bit for bit, and every step once."""
    ended, reference = newest_checkpoint(directory), newest_checkpoint(expected)
    assert ended.name == reference.name == f"step-{STEPS:09d}"
    for name in ("model.safetensors", "training.safetensors", "training.json"):
        assert (ended / name).read_bytes() == (reference / name).read_bytes(), name
    assert directory.model.read_bytes() == expected.model.read_bytes()
    assert points(directory) == points(expected)
    assert [line["step"] for line in points(directory) if line["split"] == "train"] == list(range(1, STEPS + 1))
    assert json.loads(directory.outcome.read_text())["monitor"] == json.loads(expected.outcome.read_text())["monitor"]
