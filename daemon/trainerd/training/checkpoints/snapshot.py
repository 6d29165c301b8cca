"""What is in a checkpoint: the model, everything else the next step depends on, and nothing that has to be unpickled.

model.safetensors      the model's state_dict, loadable by anybody
training.safetensors   every other tensor: optimizer, random states
training.json          everything that is not a tensor
manifest.json          sizes and checksums (see `commit`)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from trainerd.training.checkpoints.file_image import FileImage
from trainerd.training.checkpoints.verify import Verified
from trainerd.training.state_tree import Tensors, flatten, unflatten

MODEL_FILE = "model.safetensors"
TENSORS_FILE = "training.safetensors"
DOCUMENT_FILE = "training.json"


@dataclass(frozen=True)
class RunState:
    """Everything that the next step depends on: the live objects' own tensors, not copies of them."""

    step: int
    epoch: int  # epochs finished
    model: Tensors
    training: dict[str, Any]  # any tree that `state_tree` can flatten


class Snapshot:
    """A copy of a run's state in buffers that are reused, laid out as the files that it will be."""

    def __init__(self) -> None:
        self.step = 0
        self.epoch = 0
        self._model = FileImage()
        self._tensors = FileImage()
        self._document = b""

    def take(self, state: RunState) -> None:
        """Copy the state; afterwards training may go on changing its own tensors.

        Raises state_tree.Unsaveable where the state holds what a checkpoint cannot.
        """
        tensors, document = flatten(state.training, "training")
        self._model.hold(state.model)
        self._tensors.hold(tensors)
        self._document = json.dumps(document).encode()
        self.step, self.epoch = state.step, state.epoch

    def files(self) -> dict[str, memoryview | bytes]:
        """The contents of the checkpoint's files, valid until the next `take`."""
        return {MODEL_FILE: self._model.buffer, TENSORS_FILE: self._tensors.buffer, DOCUMENT_FILE: self._document}


def load(checkpoint: Verified) -> RunState:
    """The state in a verified checkpoint, its tensors on the CPU."""
    training = unflatten(
        json.loads((checkpoint.path / DOCUMENT_FILE).read_bytes()), _load_tensors(checkpoint.path / TENSORS_FILE)
    )
    return RunState(
        step=checkpoint.manifest.step,
        epoch=checkpoint.manifest.epoch,
        model=_load_tensors(checkpoint.path / MODEL_FILE),
        training=training,
    )


def _load_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors in memory of their own, aligned as in the first attempt: matrix kernels round differently otherwise."""
    return {name: tensor.clone() for name, tensor in load_file(path).items()}


def model_file(checkpoint: Path) -> Path:
    return checkpoint / MODEL_FILE
