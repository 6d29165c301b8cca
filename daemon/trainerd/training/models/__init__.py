"""The registered models. Each fits itself to the shapes of one sample's inputs and targets.

Weights are drawn from torch's global generator and from nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from trainerd.training.models.cnn import CNN
from trainerd.training.models.mlp import MLP
from trainerd.training.models.unet3d import UNet3d

MODELS: Mapping[str, type[nn.Module]] = {"mlp": MLP, "cnn": CNN, "unet3d": UNet3d}

__all__ = ["CNN", "MLP", "MODELS", "UNet3d"]
