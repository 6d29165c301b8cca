"""Overrides from the command line, `optimizer.lr=1e-3`, as a tree that is laid over the files.

The key is dotted; the value is YAML, and nothing after `=` is null. A mapping given as a value takes the place of the
whole section; of two overrides of one key the last wins, in whatever order they were typed otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trainerd.config.document import parse_yaml
from trainerd.config.merging import merge
from trainerd.config.tree import Entry, Mapping, Node, Place, Source
from trainerd.contracts.errors import Finding, SpecificationRefused

_OVERRIDE = re.compile(r"(?P<key>[A-Za-z_][\w-]*(\.[\w-]+)*)=(?P<value>.*)", re.DOTALL)


def read_overrides(overrides: Sequence[str], directory: Path) -> tuple[Mapping, list[Finding]]:
    """All overrides as one tree, and what is wrong with any. Relative paths in them are relative to `directory`."""
    tree = Mapping({}, Place(Source("overrides", "overrides", directory, has_lines=False)))
    findings: list[Finding] = []
    for text in overrides:
        shown = text.encode(errors="replace").decode()
        source = Source(f"override {shown!r}", f"override {shown}", directory, has_lines=False)
        try:
            override, problems = _read(text, source)
        except SpecificationRefused as refused:
            findings += refused.findings
            continue
        tree = merge(tree, override)
        findings += problems
    return tree, findings


def _read(text: str, source: Source) -> tuple[Mapping, list[Finding]]:
    matched = _OVERRIDE.fullmatch(text)
    if matched is None:
        expected = "key=value, such as optimizer.lr=1e-3"
        raise SpecificationRefused([Place(source).finding("not an override", expected=expected)])
    keys = matched["key"].split(".")
    if keys[0] == "extends":
        raise SpecificationRefused([Place(source).finding("extends belongs into a file", "extends")])
    try:
        value, problems = parse_yaml(matched["value"], source)
    except SpecificationRefused as refused:
        raise SpecificationRefused(_below(matched["key"], refused.findings)) from refused
    return _nested(keys, value, Place(source)), _below(matched["key"], problems)


def _nested(keys: list[str], value: Node, place: Place) -> Mapping:
    """{a: {b: value}} for keys [a, b]."""
    node: Node = replace(value, is_whole=True) if isinstance(value, Mapping) else value
    for key in reversed(keys):
        node = Mapping({key: Entry(place, node)}, place)
    assert isinstance(node, Mapping)
    return node


def _below(key: str, findings: list[Finding]) -> list[Finding]:
    """Findings in the value of `key`, with their own keys below it."""
    return [replace(finding, key=f"{key}.{finding.key}" if finding.key else key) for finding in findings]
