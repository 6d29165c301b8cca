"""unet3d: a light 3D U-Net (Ronneberger et al. 2015, arXiv:1505.04597; Cicek et al. 2016, arXiv:1606.06650).

Lighter than in the papers where a CPU feels it: one convolution per level, skips are added instead of concatenated,
and the full resolution has only an entrance and an exit.

Shapes: x_BCDHW (B = batch, C = channels, D, H, W = any size), features_BFDHW, output_BODHW.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from trainerd.training.models.shapes import Count, Samples, entrance, output_shape


class UNet3d(nn.Module):
    """A volume from a volume of the same size; where channels agree too, the input plus a learned correction.

    The correction is zero before the first step. `channels` doubles with each of the `depth` halvings. Sizes that do
    not divide are padded with zeros and cropped again. Raises ValueError where inputs or targets are not such volumes.
    """

    def __init__(
        self,
        inputs: Samples,
        targets: Samples,
        *,
        channels: Count = 8,
        depth: Annotated[int, Field(ge=1, le=6)] = 2,
        norm: Literal["batch", "none"] = "batch",
        classes: Count | None = None,
    ) -> None:
        super().__init__()
        output = output_shape(targets, classes)
        if len(inputs.shape) != 4 or output[1:] != inputs.shape[1:]:
            found = f"inputs {list(inputs.shape)} and outputs {list(output)}"
            raise ValueError(f"unet3d needs [channels, depth, height, width] with equal spatial sizes, found {found}")
        self.is_correction = classes is None and output == inputs.shape
        self.multiple = 2**depth
        self.entrance = nn.Sequential(*entrance(inputs))
        widths = [channels * 2**level for level in range(depth + 1)]
        pairs = list(pairwise(widths))
        self.enter = nn.Sequential(*_convolve(inputs.shape[0], channels, norm))
        self.down = nn.ModuleList(_halve(wide, deep, norm) for wide, deep in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose3d(deep, wide, 2, stride=2) for wide, deep in reversed(pairs))
        self.merge = nn.ModuleList(nn.Sequential(*_convolve(width, width, norm)) for width in reversed(widths[1:-1]))
        self.exit = nn.Conv3d(channels, output[0], 3, padding=1)
        if self.is_correction:
            for parameter in self.exit.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x_BCDHW: Tensor) -> Tensor:
        x_BCDHW = self.entrance(x_BCDHW)
        sizes = x_BCDHW.shape[2:]
        # Channels last: convolutions on a CPU are two to four times as fast, on a GPU they are no slower.
        padded_BCDHW = _pad_to_multiple(x_BCDHW, self.multiple).contiguous(memory_format=torch.channels_last_3d)
        correction_BODHW = self._correct(padded_BCDHW)[:, :, : sizes[0], : sizes[1], : sizes[2]]
        return x_BCDHW + correction_BODHW if self.is_correction else correction_BODHW

    def _correct(self, x_BCDHW: Tensor) -> Tensor:
        features_BFDHW = self.enter(x_BCDHW).contiguous(memory_format=torch.channels_last_3d)
        skipped = []
        for halve in self.down:
            skipped.append(features_BFDHW)
            features_BFDHW = halve(features_BFDHW)
        for level, double in enumerate(self.up):
            features_BFDHW = double(features_BFDHW) + skipped.pop()
            if level < len(self.merge):
                features_BFDHW = self.merge[level](features_BFDHW)
        output_BODHW: Tensor = self.exit(features_BFDHW)
        return output_BODHW


def _convolve(width: int, size: int, norm: str) -> list[nn.Module]:
    convolution = nn.Conv3d(width, size, 3, padding=1, bias=norm == "none")
    return [convolution, *([nn.BatchNorm3d(size)] if norm == "batch" else []), nn.ReLU(inplace=True)]


def _halve(width: int, size: int, norm: str) -> nn.Module:
    return nn.Sequential(nn.Conv3d(width, size, 2, stride=2), nn.ReLU(inplace=True), *_convolve(size, size, norm))


def _pad_to_multiple(x_BCDHW: Tensor, multiple: int) -> Tensor:
    missing = [-size % multiple for size in reversed(x_BCDHW.shape[2:])]
    return functional.pad(x_BCDHW, [each for size in missing for each in (0, size)]) if any(missing) else x_BCDHW
