"""From YAML text to a tree of places.

Built from the parser's events rather than with a loader: a loader stops at the first duplicate key and forgets where a
value stood. What is wrong but can be read past (duplicate keys, tags, keys that are not text) is a finding, and reading
goes on. Nothing is ever constructed but text, numbers, true, false and null.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
    StreamStartEvent,
)
from ruamel.yaml.reader import ReaderError

from trainerd.config.scalars import meaning_of
from trainerd.config.tree import Entry, Mapping, Node, Place, Scalar, Sequence, Source
from trainerd.contracts.errors import Finding, SpecificationRefused

LARGEST_BYTES = 1 << 20
TOO_LARGE = "larger than 1 MiB, which no configuration is"
DEEPEST = 64
MOST_VALUES = 50_000  # values of an alias count as often as it is used


def parse_yaml(text: str, source: Source) -> tuple[Node, list[Finding]]:
    """The one document in `text`, and what is wrong with it although it could be read.

    Raises: SpecificationRefused where it cannot be read: a syntax error, several documents, too large, too deep.
    """
    if len(text.encode(errors="replace")) > LARGEST_BYTES:
        raise _refusal(TOO_LARGE, Place(source))
    builder = _Builder(source, _events(text, source))
    return builder.document(), builder.findings


def _events(text: str, source: Source) -> Iterator[Any]:
    """The events of the one document's nodes. Refuses what is not YAML, and a second document."""
    documents = 0
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            documents += isinstance(event, DocumentStartEvent)
            if documents > 1:
                raise _refusal(
                    "a second document begins here; a configuration is one", _place(source, event.start_mark)
                )
            if not isinstance(event, StreamStartEvent | StreamEndEvent | DocumentStartEvent | DocumentEndEvent):
                yield event
    except MarkedYAMLError as error:
        why = ": ".join(part for part in (error.context, error.problem) if part)
        raise _refusal(f"not YAML: {why}", _place(source, error.problem_mark or error.context_mark)) from error
    except ReaderError as error:
        before = text[: error.position]
        place = Place(source, before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise _refusal(f"not YAML: the character U+{ord(text[error.position]):04X} is not allowed", place) from error
    except (YAMLError, ValueError) as error:  # ValueError: the scanner's chr() on an escape such as "\U00110000"
        raise _refusal(f"not YAML: {error}", Place(source)) from error


def _refusal(message: str, place: Place, key: str = "") -> SpecificationRefused:
    return SpecificationRefused([place.finding(message, key)])


def _place(source: Source, mark: Any) -> Place:
    return Place(source, mark.line + 1, mark.column + 1) if mark and source.has_lines else Place(source)


class _Builder:
    """Builds one tree. An anchor is known only once its value is complete: no value can hold itself."""

    def __init__(self, source: Source, events: Iterator[Any]) -> None:
        self.findings: list[Finding] = []
        self._source = source
        self._events = events
        self._anchors: dict[str, Node] = {}
        self._values = 0

    def document(self) -> Node:
        first = next(self._events, None)
        if first is None:
            return Scalar(None, Place(self._source, 1, 1) if self._source.has_lines else Place(self._source), "")
        node = self._node(first, ())
        assert next(self._events, None) is None
        return node

    def _node(self, event: Any, path: tuple[str, ...]) -> Node:
        place = _place(self._source, event.start_mark)
        if isinstance(event, AliasEvent):
            return self._alias(event, place, path)
        self._count(1, len(path), place)
        if event.tag is not None:
            self._find("tags are not supported; quotes make text", place, path, found=str(event.tag))
        if isinstance(event, ScalarEvent):
            node: Node = self._scalar(event, place, path)
        elif isinstance(event, MappingStartEvent):
            node = self._mapping(place, path)
        else:
            node = self._sequence(place, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: Any, place: Place, path: tuple[str, ...]) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise _refusal(f"*{event.anchor} stands for no complete value above it", place, ".".join(path))
        values, levels = _extent(node)
        self._count(values, len(path) + levels, place)
        return replace(node, place=place)

    def _count(self, values: int, depth: int, place: Place) -> None:
        self._values += values
        if self._values > MOST_VALUES:
            raise _refusal(f"more than {MOST_VALUES} values, those of aliases counted at each use", place)
        if depth > DEEPEST:
            raise _refusal(f"nested more than {DEEPEST} levels deep", place)

    def _scalar(self, event: Any, place: Place, path: tuple[str, ...]) -> Scalar:
        written = event.value.encode(errors="replace").decode()
        if written != event.value:
            self._find("half of a surrogate pair is not text", place, path)
        value = meaning_of(written) if event.style is None else written
        if isinstance(value, float) and not math.isfinite(value):
            self._find("not a finite number", place, path, found=written)
        return Scalar(value, place, written)

    def _sequence(self, place: Place, path: tuple[str, ...]) -> Sequence:
        items: list[Node] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._node(event, (*path, str(len(items)))))
        return Sequence(tuple(items), place)

    def _mapping(self, place: Place, path: tuple[str, ...]) -> Mapping:
        entries: dict[str, Entry] = {}
        merged: list[Mapping] = []
        while not isinstance(event := next(self._events), MappingEndEvent):
            is_merge = isinstance(event, ScalarEvent) and event.style is None and event.value == "<<"
            key_place = _place(self._source, event.start_mark)
            key = self._key(event, path)
            node = self._node(next(self._events), (*path, key or "?"))
            if is_merge:
                merged += self._mappings_to_merge(node, path)
            elif key is not None:
                self._add(entries, key, Entry(key_place, node), path)
        for mapping in merged:  # the first that gives a key wins, and the mapping's own keys win over all
            entries = {**mapping.entries, **entries}
        return Mapping(entries, place)

    def _key(self, event: Any, path: tuple[str, ...]) -> str | None:
        """The key that `event` begins; None, with a finding, where it is not text."""
        node = self._node(event, (*path, "?"))
        if isinstance(node, Scalar) and isinstance(node.value, str):
            return node.value
        suggestion = f'"{node.written}"' if isinstance(node, Scalar) else None
        self._find("a key must be text", node.place, path, suggestion=suggestion)
        return None

    def _add(self, entries: dict[str, Entry], key: str, entry: Entry, path: tuple[str, ...]) -> None:
        if key not in entries:
            entries[key] = entry
            return
        first = entries[key].place
        where = f"at line {first.line}, column {first.column}" if first.line else "before"
        self._find(f"duplicate key, first given {where}: keep one of the two", entry.place, (*path, key))

    def _mappings_to_merge(self, node: Node, path: tuple[str, ...]) -> list[Mapping]:
        given = node.items if isinstance(node, Sequence) else (node,)
        mappings = [item for item in given if isinstance(item, Mapping)]
        if len(mappings) < len(given):
            self._find("<< takes a mapping or a list of mappings", node.place, path)
        return mappings

    def _find(
        self, message: str, place: Place, path: tuple[str, ...], found: str | None = None, suggestion: str | None = None
    ) -> None:
        self.findings.append(place.finding(message, ".".join(path), found=found, suggestion=suggestion))


def _extent(node: Node) -> tuple[int, int]:
    """How many values a node holds, itself included, and how many levels below it they reach."""
    children = node.items if isinstance(node, Sequence) else ()
    if isinstance(node, Mapping):
        children = tuple(entry.node for entry in node.entries.values())
    extents = [_extent(child) for child in children]
    return 1 + sum(values for values, _ in extents), max((1 + levels for _, levels in extents), default=0)
