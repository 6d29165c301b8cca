"""A run directory's spec.yaml: a RunSpec with every default written out, and back. Reads a file; writes none.

Sections are blocks, every other value stands on its line as JSON, which YAML 1.2 contains. So it is YAML for everybody,
and a trainer, which reads it before its first step, needs no YAML parser (0.1 ms instead of 10).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainerd.config.document import parse_yaml
from trainerd.config.explain import explain
from trainerd.config.tree import Mapping, Place, Source, as_found, plain
from trainerd.contracts.errors import SpecificationRefused
from trainerd.contracts.spec import RunSpec, Section

_HEADER = "# Written by trainerd: the configuration of this run, every default written out.\n"
_LINE = re.compile(r"(?P<indent> *)(?P<key>[a-z_]+):( (?P<value>.+))?")
# Characters that JSON leaves as they are and YAML does not take, or takes for line ends.
_NOT_FOR_YAML = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def spec_to_yaml(spec: RunSpec) -> str:
    """The specification as YAML, in the order of the models. read_spec gives back an equal one."""
    return _HEADER + "".join(_lines(spec, spec.model_dump(mode="json"), ""))


def read_spec(path: Path) -> RunSpec:
    """The specification in a file that spec_to_yaml wrote; one that was edited by hand is read too, only slower.

    Raises: SpecificationRefused if it holds none; OSError where it cannot be read.
    """
    text = path.read_text(encoding="utf-8")
    document = _read_own_lines(text)
    try:
        return (
            RunSpec.model_validate_json(json.dumps(document), strict=True) if document else _read_any_yaml(text, path)
        )
    except ValidationError:
        return _read_any_yaml(text, path)


def _lines(section: Section, values: dict[str, Any], indent: str) -> Iterator[str]:
    for key, value in section:
        if isinstance(value, Section):
            yield f"{indent}{key}:\n"
            yield from _lines(value, values[key], indent + "  ")
        else:
            written = json.dumps(values[key], ensure_ascii=False)
            yield f"{indent}{key}: {_NOT_FOR_YAML.sub(_escaped, written)}\n"


def _escaped(character: re.Match[str]) -> str:
    return f"\\u{ord(character[0]):04x}"


def _read_own_lines(text: str) -> dict[str, Any] | None:
    """What spec_to_yaml wrote; None where a line is none of its own."""
    document: dict[str, Any] = {}
    open_sections = [document]
    for line in text.removeprefix(_HEADER).split("\n")[:-1]:
        matched = _LINE.fullmatch(line)
        depth = len(matched["indent"]) // 2 if matched else len(open_sections)
        if matched is None or depth >= len(open_sections):
            return None
        del open_sections[depth + 1 :]
        try:
            value = json.loads(matched["value"]) if matched["value"] else {}
        except json.JSONDecodeError:
            return None
        open_sections[depth][matched["key"]] = value
        if not matched["value"]:
            open_sections.append(value)
    return document


def _read_any_yaml(text: str, path: Path) -> RunSpec:
    source = Source(str(path), path.name, path.parent)
    tree, findings = parse_yaml(text, source)
    if not isinstance(tree, Mapping):
        findings = [Place(source, 1, 1).finding("not a configuration", expected="a mapping", found=as_found(tree))]
    if findings or not isinstance(tree, Mapping):
        raise SpecificationRefused(findings)
    try:
        return RunSpec.model_validate_json(json.dumps(plain(tree)), strict=True)
    except ValidationError as error:
        raise SpecificationRefused(explain(error, tree)) from error
