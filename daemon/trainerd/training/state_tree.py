"""Any nested state (state_dict and friends) as named tensors plus JSON, and back: what a checkpoint can hold.

JSON stands for None, bool, int, float, str, lists and dicts with plain string keys. Everything else is written as a
marked object: {"$tensor": name}, {"$array": name, ...}, {"$tuple": [...]}, {"$dict": [[key, value], ...]}. Anything
outside that is refused by its path: nothing is ever pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainerd.contracts.errors import TrainerdError

Tensors = dict[str, Tensor]


@dataclass
class Unsaveable(TrainerdError):
    """A state holds something that is neither a tensor, an array nor JSON."""

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: a {self.what} cannot be kept in a checkpoint"


def flatten(state: Any, name: str) -> tuple[Tensors, Any]:
    """Tensors by dotted name (as they are: no copy is made), and the JSON that says where each belongs.

    Raises Unsaveable, naming the path below `name`.
    """
    tensors: Tensors = {}
    return tensors, _flatten(state, name, tensors)


def unflatten(document: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `flatten`. Raises KeyError where a tensor is missing."""
    if isinstance(document, list):
        return [unflatten(item, tensors) for item in document]
    if not isinstance(document, dict):
        return document
    if "$tensor" in document:
        return tensors[document["$tensor"]]
    if "$array" in document:
        flat = tensors[document["$array"]].numpy().view(document["dtype"])
        return flat.reshape(document["shape"]).copy()
    if "$tuple" in document:
        return tuple(unflatten(item, tensors) for item in document["$tuple"])
    if "$dict" in document:
        return {unflatten(key, tensors): unflatten(value, tensors) for key, value in document["$dict"]}
    return {key: unflatten(value, tensors) for key, value in document.items()}


def _flatten(value: Any, path: str, tensors: Tensors) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Tensor():
            tensors[path] = value.detach()
            return {"$tensor": path}
        case np.ndarray():
            tensors[path] = torch.from_numpy(np.ascontiguousarray(value).reshape(-1).view(np.uint8).copy())
            return {"$array": path, "dtype": str(value.dtype), "shape": list(value.shape)}
        case np.generic():
            return _flatten(value.item(), path, tensors)
        case tuple():
            return {"$tuple": [_flatten(item, f"{path}.{index}", tensors) for index, item in enumerate(value)]}
        case list():
            return [_flatten(item, f"{path}.{index}", tensors) for index, item in enumerate(value)]
        case Mapping():
            return _flatten_mapping(value, path, tensors)
    raise Unsaveable(path, f"{type(value).__module__}.{type(value).__qualname__}")


def _flatten_mapping(value: Mapping[Any, Any], path: str, tensors: Tensors) -> Any:
    if all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {key: _flatten(item, f"{path}.{key}", tensors) for key, item in value.items()}
    return {
        "$dict": [
            [_flatten(key, f"{path}.key", tensors), _flatten(item, f"{path}.{key}", tensors)]
            for key, item in value.items()
        ]
    }
