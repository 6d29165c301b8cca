"""A configuration as a tree in which every key and every value knows its place. Immutable records, no reading here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainerd.config.scalars import ScalarValue
from trainerd.contracts.errors import Finding


@dataclass(frozen=True)
class Source:
    """Where values come from: a file, or one override, which has no lines."""

    label: str  # in findings
    origin: str  # in origins
    directory: Path  # what relative paths in it are relative to
    has_lines: bool = True


@dataclass(frozen=True)
class Place:
    """Where a key or a value stands in its source. Line and column count from 1."""

    source: Source
    line: int | None = None
    column: int | None = None

    def finding(
        self,
        message: str,
        key: str = "",
        expected: str | None = None,
        found: str | None = None,
        suggestion: str | None = None,
    ) -> Finding:
        """What is wrong here."""
        return Finding(message, self.source.label, self.line, self.column, key or None, expected, found, suggestion)

    def __str__(self) -> str:
        """As origins show it: `overnight.yaml:12:7` or `override optimizer.lr=1e-3`."""
        return self.source.origin if self.line is None else f"{self.source.origin}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Scalar:
    value: ScalarValue
    place: Place
    written: str  # as it stands in the source, without quotes


@dataclass(frozen=True)
class Sequence:
    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True)
class Mapping:
    entries: dict[str, Entry]
    place: Place
    is_whole: bool = False  # takes the place of what it is laid over, instead of being merged into it

    def scalar(self, key: str) -> Scalar | None:
        """The scalar under `key`, if that is what stands there."""
        entry = self.entries.get(key)
        return entry.node if entry and isinstance(entry.node, Scalar) else None

    def mapping(self, key: str) -> Mapping | None:
        """The mapping under `key`, if that is what stands there."""
        entry = self.entries.get(key)
        return entry.node if entry and isinstance(entry.node, Mapping) else None

    def with_entry(self, key: str, entry: Entry) -> Mapping:
        return Mapping({**self.entries, key: entry}, self.place, self.is_whole)

    def without(self, *keys: str) -> Mapping:
        kept = {key: entry for key, entry in self.entries.items() if key not in keys}
        return Mapping(kept, self.place, self.is_whole)


@dataclass(frozen=True)
class Entry:
    """A value, and where its key stands."""

    place: Place
    node: Node


Node = Scalar | Sequence | Mapping


def plain(node: Node) -> Any:
    """The tree as dictionaries, lists and scalars, without places."""
    if isinstance(node, Mapping):
        return {key: plain(entry.node) for key, entry in node.entries.items()}
    return [plain(item) for item in node.items] if isinstance(node, Sequence) else node.value


def descend(node: Node, keys: tuple[str | int, ...]) -> list[Entry]:
    """The entries along `keys`, as far as the tree goes; items of a list are entries whose key is the item itself."""
    found: list[Entry] = []
    for key in keys:
        if isinstance(node, Mapping) and key in node.entries:
            found.append(node.entries[str(key)])
        elif isinstance(node, Sequence) and isinstance(key, int) and key < len(node.items):
            found.append(Entry(node.items[key].place, node.items[key]))
        else:
            break
        node = found[-1].node
    return found


def as_found(node: Node) -> str:
    """A value as a message names it."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return f"a list of {len(node.items)}"
    shown = node.written if len(node.written) <= 60 else node.written[:57] + "..."
    return repr(shown) if isinstance(node.value, str) else shown or "null"
