"""Pydantic's errors as findings in plain words, each at the key or value that the user wrote. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from string import ascii_letters
from typing import Any

from pydantic import ValidationError

from trainerd.config.expectations import Expectations, Keys, Schema
from trainerd.config.schema import run_schema
from trainerd.config.tree import Entry, Mapping, Node, Scalar, as_found, descend
from trainerd.contracts.errors import Finding

_IN_PLAIN_WORDS = {
    "greater_than": "out of range",
    "greater_than_equal": "out of range",
    "less_than": "out of range",
    "less_than_equal": "out of range",
    "literal_error": "not one of the choices",
    "union_tag_invalid": "not one of the choices",
    "finite_number": "not a finite number",
    "string_pattern_mismatch": "not of the form that is needed",
    "too_short": "wrong length",
    "too_long": "wrong length",
}


def explain(error: ValidationError, tree: Mapping, *, is_complete: bool = True) -> list[Finding]:
    """A finding for each problem that pydantic found in `tree`.

    Of a tree that is not complete, nothing is said about what it lacks: that may stand in what could not be read.
    """
    expectations = Expectations(run_schema())
    problems = error.errors(include_url=False, include_input=False)
    lacking = ("missing", "union_tag_not_found", "value_error")
    return [_explain(item, tree, expectations) for item in problems if is_complete or item["type"] not in lacking]


def _explain(problem: Any, tree: Mapping, expectations: Expectations) -> Finding:
    keys, schema = expectations.at(problem["loc"])
    entries = descend(tree, keys)
    section = Entry(tree.place, tree) if not entries else entries[-1]
    dotted = ".".join(map(str, keys))
    match problem["type"]:
        case "missing" if isinstance(keys[-1], int):  # a list of fixed length that is too short
            _, whole = expectations.at(problem["loc"][:-1])
            return _unusable("too_short", dotted.rpartition(".")[0], section.node, whole, expectations)
        case "missing":
            return section.place.finding("required key is missing", dotted, expectations.in_words(schema))
        case "union_tag_not_found":
            expected = f"one of {', '.join(expectations.kinds_of(schema))}"
            return section.place.finding("required key is missing", f"{dotted}.kind", expected)
        case "extra_forbidden":
            nearest = _nearest_key(keys, problem["loc"], expectations)
            return section.place.finding("unknown key", dotted, suggestion=nearest)
        case "value_error":
            return section.place.finding(str(problem["ctx"]["error"]), dotted)
        case "union_tag_invalid":
            given = descend(tree, (*keys, "kind"))[-1].node
            choices = {"enum": list(expectations.kinds_of(schema))}
            return _unusable("union_tag_invalid", f"{dotted}.kind", given, choices, expectations)
        case kind:
            return _unusable(kind, dotted, section.node, schema, expectations)


def _unusable(kind: str, key: str, node: Node, schema: Schema, expectations: Expectations) -> Finding:
    """A value that its key cannot take, with what it could be."""
    message = _IN_PLAIN_WORDS.get(kind, "wrong type")
    suggestion = _nearest_value(node, schema) if isinstance(node, Scalar) else None
    return node.place.finding(message, key, expectations.in_words(schema), as_found(node), suggestion)


def _nearest_key(keys: Keys, location: Keys, expectations: Expectations) -> str | None:
    """The known key that an unknown one was probably meant to be: in its own section, else in another."""
    _, section = expectations.at(location[:-1])
    key = str(keys[-1])
    known = expectations.known_keys(section)
    if nearest := closest(key, known):
        return nearest
    elsewhere = expectations.sections_with(key)
    return f"{elsewhere[0]}.{key}" if len(elsewhere) == 1 else None


def _nearest_value(scalar: Scalar, schema: Schema) -> str | None:
    """What the user probably meant: a choice written alike, or the same number in the type that is needed."""
    branches = schema.get("anyOf", [schema])
    types = {branch.get("type") for branch in branches}
    choices = [str(choice) for branch in branches for choice in branch.get("enum", [branch.get("const")]) if choice]
    if nearest := closest(scalar.written, choices):
        return nearest
    if "boolean" in types:
        return {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(scalar.written.lower())
    if "string" in types and not choices:
        is_meant = isinstance(scalar.value, int | float) and _fits(scalar.written, branches)
        return f'"{scalar.written}"' if is_meant else None
    return _nearest_number(scalar, types) if types & {"integer", "number"} else None


def _fits(word: str, branches: Sequence[Schema]) -> bool:
    """Whether a text is of a form that one of the branches asks for."""
    patterns = [branch.get("pattern") for branch in branches if branch.get("type") == "string"]
    return any(pattern is None or re.search(pattern, word) for pattern in patterns)


def _nearest_number(scalar: Scalar, types: set[str | None]) -> str | None:
    """The number that a quoted one, one with letters or underscores, or a fraction such as 1e3 stands for."""
    digits = scalar.written.rstrip(ascii_letters + " ").replace("_", "")
    try:
        number = float(digits)
    except ValueError:
        return None
    if "number" in types:
        return digits if isinstance(scalar.value, str) else None
    is_meant = not isinstance(scalar.value, int) and number.is_integer()
    return str(int(number)) if is_meant else None


def closest(word: str, known: list[str]) -> str | None:
    """The one of `known` that is written most like `word`, if any is alike."""
    return next(iter(get_close_matches(word, known, n=1)), None)
