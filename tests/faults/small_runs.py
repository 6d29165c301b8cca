"""Small runs of every kind of data and every kind of model, on which exactness is easily lost.

Each has what must survive an interruption: shuffling, dropout, a schedule with warm-up, accumulation with a short last
group, gradient clipping, a validation split; CNN has batch norm's buffers, LSTM is the user's own code. A step takes a
few milliseconds, and every step's loss is written.
"""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DATA = ("synthetic", "hdf5", "parquet")
MODELS = ("mlp", "cnn", "lstm")
SLOTS = 3  # runs that train at the same time
STEPS_PER_EPOCH = 31  # 735 training samples in 92 batches, three to a group: the last batch and group are short
EPOCHS = 16
CHECKPOINT_EVERY = 7  # steps: a kill costs some, and they are done again
_SAMPLES = 980
_INPUT_SHAPES = {"mlp": [16], "cnn": [1, 8, 8], "lstm": [12, 4]}
_MODELS = {
    "mlp": {"name": "mlp", "args": {"hidden": [256, 256, 256], "dropout": 0.1}},
    "cnn": {"name": "cnn", "args": {"channels": [8, 16], "dropout": 0.2, "norm": "batch"}},
    "lstm": {"target": "lstm_net:LSTM", "args": {"inputs": 4, "hidden": 16, "outputs": 2}},
}
_LSTM = """\
import torch


class LSTM(torch.nn.Module):
    \"\"\"Two recurrent layers with dropout between them; the last position answers. x_BTF -> y_BO.\"\"\"

    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        self.recurrent = torch.nn.LSTM(inputs, hidden, num_layers=2, dropout=0.2, batch_first=True)
        self.answer = torch.nn.Linear(hidden, outputs)

    def forward(self, x_BTF):
        return self.answer(self.recurrent(x_BTF)[0][:, -1])
"""


def write_run(folder: Path, data: str, model: str) -> Path:
    """The configuration of one such run in `folder`, with its data and its module beside it."""
    configuration = {
        "name": f"{data}-{model}",
        "seed": 5,
        "data": {
            **_write_data(folder, data, _INPUT_SHAPES[model]),
            "split": {"val": 0.25, "seed": 1},
            "batch_size": 8,
        },
        "model": _MODELS[model],
        "loss": {"name": "mse"},
        "optimizer": {"name": "adamw", "lr": 3e-3, "weight_decay": 0.01},
        "schedule": {"name": "cosine", "warmup_steps": 20},
        "trainer": {
            "max_epochs": EPOCHS,
            "device": "cpu",
            "accumulate": 3,
            "grad_clip": 1.0,
            "log_every_steps": 1,
        },
        "checkpoint": {"every_steps": CHECKPOINT_EVERY, "every_minutes": None},
        "resources": {"cpus": 1},
    }
    (folder / "lstm_net.py").write_text(_LSTM)
    path = folder / f"{data}-{model}.yaml"
    path.write_text(json.dumps(configuration, indent=2))  # JSON is YAML
    return path


def _write_data(folder: Path, kind: str, shape: list[int]) -> dict[str, object]:
    """The `data` section's own part; the file is the same for everyone who asks for it."""
    inputs: dict[str, object] = {"shape": shape}
    targets: dict[str, object] = {"shape": [2]}
    if kind == "synthetic":
        return {"kind": kind, "samples": _SAMPLES, "inputs": inputs, "targets": targets}
    random = np.random.default_rng(11)
    x_BS = random.standard_normal((_SAMPLES, *shape), np.float32)
    y_BO = random.standard_normal((_SAMPLES, 2), np.float32)
    path = folder / f"samples-{len(shape)}.{kind}"
    write = {"hdf5": _write_hdf5, "parquet": _write_parquet}[kind]
    write(path, x_BS, y_BO)
    keyed = {"dtype": "float32"}
    return {
        "kind": kind,
        "path": path.name,
        "inputs": {**inputs, **keyed, "key": "x"},
        "targets": {**targets, **keyed, "key": "y"},
    }


def _write_hdf5(path: Path, x_BS: np.ndarray, y_BO: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=x_BS, chunks=(32, *x_BS.shape[1:]))
        file.create_dataset("y", data=y_BO)


def _write_parquet(path: Path, x_BS: np.ndarray, y_BO: np.ndarray) -> None:
    columns = {
        name: pa.FixedSizeListArray.from_arrays(values.reshape(-1), values[0].size)
        for name, values in (("x", x_BS), ("y", y_BO))
    }
    pq.write_table(pa.table(columns), path, row_group_size=100)
