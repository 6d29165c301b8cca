"""What the two kinds of files share: a path that must be a readable file, and a field that must have a key."""

from __future__ import annotations

import os
import stat
from difflib import get_close_matches

from trainerd.contracts.errors import Finding, SpecificationRefused
from trainerd.data.source import FieldSchema


def require_regular_file(path: str) -> None:
    """Raises SpecificationRefused unless `path` is a file with something in it: opening a pipe would wait for ever."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise refused_file(path, error.strerror or str(error)) from error
    if not stat.S_ISREG(status.st_mode):
        raise refused_file(path, "not a regular file")
    if status.st_size == 0:
        raise refused_file(path, "the file is empty", found="0 bytes")


def refused_file(path: str, why: str, *, expected: str | None = None, found: str | None = None) -> SpecificationRefused:
    """The refusal of the whole file."""
    return SpecificationRefused([Finding(why, file=path, key="data.path", expected=expected, found=found)])


def missing_key(field: FieldSchema, path: str, kind: str) -> Finding:
    """The finding for a field that does not say which `kind` of thing in the file holds it."""
    return field.finding("a key is missing", path, "key", expected=f"the name of a {kind}")


def nearest(key: str, present: list[str]) -> str | None:
    """The name that was probably meant by `key`, if any is like it."""
    return next(iter(get_close_matches(key, present, n=1)), None)


def show_shape(shape: tuple[int, ...]) -> str:
    """A shape as a configuration spells it."""
    return str(list(shape))
