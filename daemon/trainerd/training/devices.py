"""The device of a run, and the facts about the machine on which the last bits of its results depend."""

from __future__ import annotations

import os
import platform
from typing import Any, Literal

import numpy
import torch

from trainerd.contracts.errors import Finding, SpecificationRefused
from trainerd.contracts.spec import RunSpec


def resolve_device(name: str) -> torch.device:
    """What `trainer.device` means among the GPUs that this process can see.

    Raises SpecificationRefused for a GPU that is not there.
    """
    if name == "cpu":
        return torch.device("cpu")
    visible = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda", 0) if visible else torch.device("cpu")
    device = torch.device(name)
    if (device.index or 0) >= visible:
        found = f"{visible} visible GPU{'s' if visible != 1 else ''}"
        raise SpecificationRefused([Finding(f"there is no {name} for this run", key="trainer.device", found=found)])
    return torch.device("cuda", device.index or 0)


def visible_gpus() -> list[str]:
    """The UUIDs of the GPUs that a daemon has given this process; empty where nobody has."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return [name for name in given if name.startswith(("GPU-", "MIG-"))]


def check_device(device: str, gpus: int | Literal["auto"]) -> list[Finding]:
    """A finding where `trainer.device` is a GPU that `resources.gpus` will not give. Makes no CUDA context."""
    there = torch.cuda.device_count() if gpus not in (0, "auto") else 0
    if isinstance(gpus, int) and gpus > there:
        expected, found = f"at most {there}", str(gpus)
        return [Finding("more GPUs than there are", key="resources.gpus", expected=expected, found=found)]
    if not device.startswith("cuda"):
        return []
    own = min(1, torch.cuda.device_count()) if gpus == "auto" else gpus
    if int(device.partition(":")[2] or 0) < own:
        return []
    expected = f"cuda:0 to cuda:{own - 1}, counted among the run's own GPUs" if own else "cpu or auto"
    message = f"the run has {own} GPU{'s' if own != 1 else ''}"
    return [Finding(message, key="trainer.device", expected=expected, found=device)]


def likely_device_type(spec: RunSpec) -> str:
    """cpu or cuda: where a run of `spec` will train on this machine."""
    if spec.trainer.device != "auto":
        return spec.trainer.device.partition(":")[0]
    return "cuda" if spec.resources.gpus != 0 and torch.cuda.device_count() else "cpu"


def apply_determinism(deterministic: bool) -> None:
    """Allow only deterministic algorithms, or not. Call before the first use of a GPU: cuBLAS reads a setting then."""
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(deterministic)


def _processor() -> str | None:
    """The model of the first processor, where Linux names one: libraries choose their kernels by it."""
    with open("/proc/cpuinfo", "rb", buffering=0) as file:
        lines = file.read(4096).decode(errors="replace").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def environment_facts(device: torch.device) -> dict[str, Any]:
    """What a checkpoint records of the machine, in plain JSON: another value may change the last bits of results."""
    return {
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "processor": _processor(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
    }
