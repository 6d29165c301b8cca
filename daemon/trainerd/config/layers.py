"""A configuration file, the files that it extends, and the overrides, laid over one another.

Reads files; never writes. `extends: base.yaml` is relative to the file that says it, and chains; a circle is refused.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainerd.config.document import LARGEST_BYTES, TOO_LARGE, parse_yaml
from trainerd.config.merging import lay_over
from trainerd.config.overrides import read_overrides
from trainerd.config.tree import Mapping, Node, Place, Scalar, Source, as_found
from trainerd.contracts.errors import Finding, SpecificationRefused


@dataclass(frozen=True)
class Layers:
    """What the files and the overrides say together, and what was wrong or worth a warning on the way."""

    tree: Mapping
    findings: list[Finding]
    warnings: list[Finding]
    is_complete: bool = True  # False if a file that is extended could not be read: what is missing may stand there


def read_layers(path: Path, text: str | None, overrides: Sequence[str]) -> Layers:
    """`path` (its content is `text` if given), over what it extends, under `overrides`.

    Raises: SpecificationRefused where `path` itself cannot be read at all.
    """
    directory = Path(os.path.abspath(path)).parent
    above, findings = read_overrides(overrides, directory)
    try:
        files = _read_file(path, text, [], directory)
    except SpecificationRefused as refused:
        raise SpecificationRefused(refused.findings + findings) from refused
    tree, warnings = lay_over(files.tree, above)
    return Layers(tree, files.findings + findings, files.warnings + warnings, files.is_complete)


def _read_file(path: Path, text: str | None, seen: list[str], start: Path) -> Layers:
    """One file over what it extends. `seen`: the real paths of the files that led here."""
    absolute = Path(os.path.abspath(path))
    source = Source(str(path), os.path.relpath(absolute, start), absolute.parent)
    document, findings = parse_yaml(_content(path) if text is None else text, source)
    if not isinstance(document, Mapping):
        found = as_found(document) if not isinstance(document, Scalar) or document.written else "an empty file"
        raise _refusal(document.place.finding("not a configuration", expected="a mapping (key: value)", found=found))
    own = document.without("extends")
    if "extends" not in document.entries:
        return Layers(own, findings, [])
    try:
        base = _read_extended(document.entries["extends"].node, [*seen, os.path.realpath(path)], path, start)
    except SpecificationRefused as refused:
        return Layers(own, findings + refused.findings, [], is_complete=False)
    tree, warnings = lay_over(base.tree, own)
    return Layers(tree, base.findings + findings, base.warnings + warnings, base.is_complete)


def _read_extended(named: Node, seen: list[str], by: Path, start: Path) -> Layers:
    """The file that `by` extends. Raises SpecificationRefused where it cannot be read or leads back to itself."""
    if not isinstance(named, Scalar) or not isinstance(named.value, str):
        raise _refusal(named.place.finding("wrong type", "extends", "the name of a file", as_found(named)))
    path = Path(os.path.normpath(by.parent / named.value))
    if os.path.realpath(path) in seen:
        raise _refusal(
            named.place.finding("extends leads back to a file that extends this one", "extends", found=str(path))
        )
    try:
        text = _content(path)
    except SpecificationRefused as refused:
        message = f"cannot be extended: {refused.findings[0].message}"
        raise _refusal(named.place.finding(message, "extends", found=str(path))) from refused
    return _read_file(path, text, seen, start)


def _content(path: Path) -> str:
    """The text of a regular file. A pipe or a device is refused unopened: it might never end."""
    place = Place(Source(str(path), str(path), path.parent))
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise _refusal(place.finding("not a regular file"))
        with open(path, "rb") as file:
            content = file.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise _refusal(place.finding(TOO_LARGE))
        return content.decode()
    except UnicodeDecodeError as error:
        lines = error.object[: error.start].split(b"\n")
        at = Place(place.source, len(lines), len(lines[-1].decode()) + 1)
        raise _refusal(at.finding(f"not UTF-8: byte 0x{error.object[error.start]:02X}")) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _refusal(place.finding(getattr(error, "strerror", None) or str(error))) from error


def _refusal(finding: Finding) -> SpecificationRefused:
    return SpecificationRefused([finding])
