"""Warming a worker host: everything that a trainer's first step would wait for happens once, before any fork.

Afterwards the process still has one thread, has opened nothing, and has not touched CUDA. Without torch._dynamo, which
the first optimizer imports, a trainer's first step takes a second longer.
"""

from __future__ import annotations

import gc
import importlib
import os
from pathlib import Path

_HEAVY = (
    "numpy",
    "torch",
    "torch._dynamo",
    "torch.utils.data",
    "safetensors.torch",
    "h5py",
    "pyarrow.parquet",
    "tensorboardX",
    "trainerd.config",
    "trainerd.data.synthetic",
    "trainerd.data.hdf5",
    "trainerd.data.parquet",
    "trainerd.training.trainer",
    "trainerd.training.model_check",
    "trainerd.worker.inspector",
)

# Libraries that would start threads when imported; a fork takes none of them along. Read once, so user code in a
# trainer gets one thread for numpy's own linear algebra; torch's threads are set per run.
_WITHOUT_THREADS = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}

_SMALL_CONFIGURATION = """
name: warm-up
data: {kind: synthetic, samples: 8, inputs: {shape: [4]}, targets: {shape: [1]}, split: {val: 0.5}, batch_size: 2}
model: {name: mlp, args: {hidden: [4]}}
loss: {name: mse}
trainer: {max_epochs: 1, device: cpu}
"""


def warm_up() -> None:
    """Import and exercise what trainers and inspectors need. Takes seconds; call once, before torch is imported."""
    os.environ.update(_WITHOUT_THREADS)
    # Asks the driver's library whether there is a GPU, without cuInit: a child forked after cuInit has no CUDA.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    for name in _HEAVY:
        importlib.import_module(name)
    for name in _WITHOUT_THREADS:
        del os.environ[name]
    _take_one_step()
    _check_a_model()
    gc.collect()
    gc.freeze()  # collections in the children leave these pages alone, so they stay shared


def _take_one_step() -> None:
    """One real update of a small model (with a CUDA build its forward pass alone), at ONE thread.

    A child of a process that ran OpenMP with more threads would hang.
    """
    import torch

    torch.set_num_threads(1)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    loss = torch.nn.functional.mse_loss(model(torch.zeros(2, 4)), torch.zeros(2, 1))
    if torch.version.cuda or torch.version.hip:
        # The first backward starts autograd's thread for every device, which initialises CUDA; so may an optimizer's
        # step, which looks for a graph being captured. A trainer pays for both itself: milliseconds, beside CUDA's own.
        return
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


def _check_a_model() -> None:
    """Load what an inspector's check of a configuration and its model loads: 1.4 s at the first time."""
    from trainerd.config import compose
    from trainerd.data import check_values, open_source
    from trainerd.training.model_check import check_model

    spec = compose(Path("warm-up.yaml"), _SMALL_CONFIGURATION).spec
    source = open_source(spec.data)
    check_values(source, spec.data)
    verdict = check_model(spec, source)
    assert not verdict.errors, verdict.errors
