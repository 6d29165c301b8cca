"""Who said what: the origin of every value of a resolved configuration. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trainerd.config.tree import Mapping, descend
from trainerd.contracts.spec import RunSpec

DEFAULT = "default"


def origins_of(spec: RunSpec, tree: Mapping) -> dict[str, str]:
    """Dotted key -> `overnight.yaml:12:7`, `override optimizer.lr=1e-3` or `default`; lists count as one value."""
    leaves = _leaves(spec.model_dump(mode="json", exclude={"source"}), ())
    return {".".join(keys): _origin(tree, keys) for keys in leaves}


def _leaves(document: dict[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for key, value in document.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key)


def _origin(tree: Mapping, keys: tuple[str, ...]) -> str:
    entries = descend(tree, keys)
    return str(entries[-1].node.place) if len(entries) == len(keys) else DEFAULT
