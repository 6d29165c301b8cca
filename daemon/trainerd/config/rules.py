"""What a configuration says that no single key can be blamed for, or that only the file system can answer.

Looks at the tree, not at a RunSpec: these problems are reported together with all others. Reads directories, no files.
"""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import get_args

from trainerd.config.explain import closest
from trainerd.config.tree import Entry, Mapping, Place, Scalar, as_found
from trainerd.contracts.errors import Finding
from trainerd.contracts.spec import AnyData

KINDS = tuple(get_args(kind.model_fields["kind"].annotation)[0] for kind in get_args(get_args(AnyData)[0]))
_KINDS_OF_FILES = ("hdf5", "parquet")


def with_nearest_kind(tree: Mapping) -> tuple[Mapping, list[Finding]]:
    """The tree with a misspelt data.kind replaced by the one meant, and a finding that says so.

    Without it nothing else in the data section could be checked, and its other problems would come out one by one.
    """
    data = tree.mapping("data")
    kind = data.scalar("kind") if data else None
    nearest = closest(str(kind.value), list(KINDS)) if kind else None
    if data is None or kind is None or kind.value in KINDS or nearest is None:
        return tree, []
    finding = kind.place.finding(
        "not one of the choices", "data.kind", f"one of {', '.join(KINDS)}", as_found(kind), suggestion=nearest
    )
    corrected = data.with_entry("kind", replace(data.entries["kind"], node=replace(kind, value=nearest)))
    return tree.with_entry("data", replace(tree.entries["data"], node=corrected)), [finding]


def with_absolute_data_path(tree: Mapping) -> Mapping:
    """The tree with data.path made absolute: relative to the directory of the file that says it."""
    data = tree.mapping("data")
    path = data.scalar("path") if data else None
    if data is None or path is None or not isinstance(path.value, str):
        return tree
    absolute = replace(path, value=os.path.normpath(path.place.source.directory / path.value))
    at = replace(data.entries["path"], node=absolute)
    return tree.with_entry("data", replace(tree.entries["data"], node=data.with_entry("path", at)))


def check(tree: Mapping) -> list[Finding]:
    """What is wrong with the tree (data.path absolute) beyond the types of its values."""
    data = tree.mapping("data")
    kind = data.scalar("kind") if data else None
    findings = _unmeasured_monitor(tree)
    if data and kind and kind.value in _KINDS_OF_FILES:
        findings += [*_missing_file(data), *_missing_keys(data)]
    return findings


def warn(tree: Mapping) -> list[Finding]:
    """What has no effect although it may be said."""
    given = tree.entries.get("source")
    if given is None or _is_null(tree.scalar("source")):
        return []
    message = "written by trainerd for its own use: what stands here is not looked at"
    return [given.place.finding(message, "source", found=as_found(given.node))]


def _missing_file(data: Mapping) -> list[Finding]:
    path = data.scalar("path")
    if path is None or not isinstance(path.value, str):
        return []
    try:
        if stat.S_ISREG(os.stat(path.value).st_mode):
            return []
        why = "not a regular file"
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = f"the data file cannot be read: {getattr(error, 'strerror', None) or error}"
    return [path.place.finding(why, "data.path", "a file", path.value, _nearest_file(path))]


def _nearest_file(path: Scalar) -> str | None:
    """A file that exists and is written much like the one that does not, as the user would write it."""
    absolute = Path(str(path.value))
    try:
        nearest = closest(absolute.name, [file.name for file in absolute.parent.iterdir() if file.is_file()])
    except (OSError, ValueError):
        return None
    return os.path.join(os.path.dirname(path.written), nearest) if nearest else None


def _missing_keys(data: Mapping) -> list[Finding]:
    """Of a file, each field says under which key it lies."""
    findings = []
    for name in ("inputs", "targets"):
        field = data.mapping(name)
        if field and ("key" not in field.entries or _is_null(field.scalar("key"))):
            place = data.entries[name].place
            findings.append(
                place.finding("required key is missing", f"data.{name}.key", "a data set or column of the file")
            )
    return findings


def _unmeasured_monitor(tree: Mapping) -> list[Finding]:
    """Early stopping cannot look at a validation that never happens."""
    data, stopping = tree.mapping("data"), tree.mapping("early_stopping")
    if data is None or stopping is None or ("split" in data.entries and not _is_null(data.scalar("split"))):
        return []
    monitor = stopping.scalar("monitor")
    name = str(monitor.value) if monitor else "val_loss"
    if not name.startswith("val_"):
        return []
    at: Entry | None = stopping.entries.get("monitor")
    place: Place = at.node.place if at else tree.entries["early_stopping"].place
    message = "nothing is validated: data.split is not given"
    return [place.finding(message, "early_stopping.monitor", found=name, suggestion="train_loss")]


def _is_null(scalar: Scalar | None) -> bool:
    return scalar is not None and scalar.value is None
