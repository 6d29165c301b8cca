"""The arguments of a verb that takes configurations: files, and key=value overrides after them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from trainerd.contracts.errors import Finding, SpecificationRefused, UsageError

_OVERRIDE = re.compile(r"[+~]{0,2}[A-Za-z_][\w.\-\[\]]*=")


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """(files, overrides). A file whose name looks like an override is written with a directory: ./a=b.yaml."""
    files, overrides = split_overrides(arguments)
    if not files:
        raise UsageError("name a configuration file")
    return files, overrides


def split_overrides(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """(what is no override, overrides)."""
    overrides = [argument for argument in arguments if _OVERRIDE.match(argument)]
    return [argument for argument in arguments if not _OVERRIDE.match(argument)], overrides


def read_configurations(files: Sequence[str]) -> list[tuple[str, str]]:
    """(absolute path, text) of each file. Raises SpecificationRefused naming every one that cannot be read."""
    findings: list[Finding] = []
    read: list[tuple[str, str]] = []
    for file in files:
        try:
            with open(file, encoding="utf-8") as opened:
                read.append((os.path.abspath(file), opened.read()))
        except OSError as error:
            findings.append(Finding(f"cannot be read: {error.strerror or error}", file=os.path.abspath(file)))
        except UnicodeDecodeError as error:
            findings.append(Finding(f"is not UTF-8: {error.reason} at byte {error.start}", file=os.path.abspath(file)))
    if findings:
        raise SpecificationRefused(findings)
    return read
