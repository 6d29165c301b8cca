"""The numbers that a run computes with: which autocast surrounds the forward pass, and whether the loss is scaled."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch

from trainerd.contracts.errors import Finding, SpecificationRefused

Name = Literal["auto", "float32", "bf16", "fp16"]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_NO_AUTOCAST = nullcontext()  # has no state: one serves every step


@dataclass(frozen=True)
class Precision:
    """Weights and gradients stay float32; `dtype` is what autocast computes in, None without autocast."""

    device_type: str
    dtype: torch.dtype | None
    scaler: torch.amp.GradScaler | None  # fp16 only; its state belongs into every checkpoint

    @classmethod
    def resolve(cls, name: Name, device: torch.device) -> Precision:
        """What `trainer.precision` means on `device`. Raises SpecificationRefused for fp16 on a CPU."""
        check_precision(name, device.type)
        chosen = _choose(device) if name == "auto" else name
        scaler = torch.amp.GradScaler(device.type) if chosen == "fp16" else None
        return cls(device.type, _DTYPES.get(chosen), scaler)

    def autocast(self) -> AbstractContextManager[object]:
        """The context of forward pass and loss; nothing at all for float32."""
        return torch.autocast(self.device_type, self.dtype) if self.dtype else _NO_AUTOCAST


def check_precision(name: Name, device_type: str) -> None:
    """Raises SpecificationRefused where `name` cannot be had on that type of device."""
    if name == "fp16" and device_type == "cpu":
        message = "fp16 needs a GPU: on a CPU it is slower than float32 and overflows"
        raise SpecificationRefused(
            [Finding(message, key="trainer.precision", expected="auto, float32 or bf16", found="fp16")]
        )


def _choose(device: torch.device) -> Name:
    has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if has_bf16 else "float32"
