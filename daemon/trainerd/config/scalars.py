"""What an unquoted word means in YAML 1.2: the core schema (yaml.org/spec/1.2.2, section 10.3.2), and nothing more.

`3e-4` is a number; `on`, `yes`, `1_000` and dates are text. Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable

ScalarValue = None | bool | int | float | str

_MEANINGS: tuple[tuple[re.Pattern[str], Callable[[str], ScalarValue]], ...] = (
    (re.compile(r"null|Null|NULL|~|"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(r"[-+]?[0-9]{1,4000}"), int),  # int() itself refuses more than 4300 digits
    (re.compile(r"0o[0-7]{1,4000}"), lambda word: int(word, 8)),
    (re.compile(r"0x[0-9a-fA-F]{1,4000}"), lambda word: int(word, 16)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda word: float(word.replace(".", ""))),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda _: float("nan")),
)


def meaning_of(word: str) -> ScalarValue:
    """The value of a plain (unquoted) scalar."""
    return next((value(word) for pattern, value in _MEANINGS if pattern.fullmatch(word)), word)
