"""YAML 1.2 with places; what cannot be read is refused with its line, what can be read past is a finding."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from config_files import TINY, place, refusal, write

from trainerd.config import compose
from trainerd.config.document import parse_yaml
from trainerd.config.tree import Source, plain
from trainerd.contracts.errors import Finding, SpecificationRefused


def read(text: str) -> tuple[Any, list[Finding]]:
    node, findings = parse_yaml(text, Source("file.yaml", "file.yaml", Path("/")))
    return plain(node), findings


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("3e-4", 3e-4),
        ("1E3", 1e3),
        (".5", 0.5),
        ("-7", -7),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 17),
        ("true", True),
        ("~", None),
        ("", None),
        ("on", "on"),
        ("yes", "yes"),
        ("3e-4x", "3e-4x"),
        ("1_000", "1_000"),
        ("2026-11-23", "2026-11-23"),
        ("12:30", "12:30"),
        ("'17'", "17"),
        ("=", "="),
    ],
)
def test_plain_words_mean_what_yaml_1_2_says(word: str, value: object) -> None:
    document, findings = read(f"key: {word}")

    assert document == {"key": value}
    assert type(document["key"]) is type(value)
    assert findings == []


def test_anchors_aliases_and_merge_keys_work() -> None:
    document, findings = read("a: &x {p: 1, q: 2}\nb: *x\nc: {<<: *x, q: 3}\nd: {<<: [{r: 1}, *x]}")

    assert findings == []
    assert document == {
        "a": {"p": 1, "q": 2},
        "b": {"p": 1, "q": 2},
        "c": {"p": 1, "q": 3},
        "d": {"p": 1, "q": 2, "r": 1},
    }


def test_duplicate_keys_are_found_at_every_level_and_reading_goes_on() -> None:
    document, findings = read("a: 1\nb: {c: 1, c: 2}\nd:\n  - {e: 1, e: 2}\na: 3")

    assert [place(it) for it in findings] == [(2, 11, "b.c"), (4, 12, "d.0.e"), (5, 1, "a")]
    assert "first given at line 1, column 1" in findings[2].message
    assert document == {"a": 1, "b": {"c": 1}, "d": [{"e": 1}]}


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ("a: 1\nb: [1, 2", "not YAML: while parsing a flow sequence", 2, 9),
        ("a: b: c", "not YAML: mapping values are not allowed here", 1, 5),
        ("a: 1\nb: \x07", "not YAML: the character U+0007 is not allowed", 2, 4),
        ("a: *b", "*b stands for no complete value above it", 1, 4),
        ("a: &a [*a]", "*a stands for no complete value above it", 1, 8),
        ("a: 1\n---\nb: 2", "a second document begins here", 2, 1),
        ("? " * 80, "nested more than 64 levels deep", 1, 131),
        ("a: " + "[" * 80 + "]" * 80, "nested more than 64 levels deep", 1, 68),
    ],
)
def test_what_cannot_be_read_is_one_finding_with_its_place(text: str, message: str, line: int, column: int) -> None:
    with pytest.raises(SpecificationRefused) as refused:
        read(text)

    (finding,) = refused.value.findings
    assert finding.message.startswith(message)
    assert (finding.line, finding.column) == (line, column)


def test_an_escape_beyond_unicode_is_refused() -> None:
    with pytest.raises(SpecificationRefused, match="not YAML"):
        read(r'a: "\U00110000"')


def test_aliases_of_aliases_cannot_fill_the_memory() -> None:
    """Ten lists of ten aliases each, ten deep, are ten thousand million values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]

    with pytest.raises(SpecificationRefused, match="more than 50000 values"):
        read("\n".join(lines))


def test_aliases_cannot_nest_deeper_than_the_text_may() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 200)]

    with pytest.raises(SpecificationRefused, match="nested more than 64 levels"):
        read("\n".join(lines))


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("a: !!python/object:os.system [x]", "a", "tags are not supported"),
        ("a: !mine 3", "a", "tags are not supported"),
        ("a: {1: x}", "a", "a key must be text"),
        ("a: {[1]: x}", "a", "a key must be text"),
        ("a: {<<: 3}", "a", "<< takes a mapping"),
        ("a: .nan", "a", "not a finite number"),
        ("a: -.inf", "a", "not a finite number"),
        ("a: 1e999", "a", "not a finite number"),
        (r'a: "\ud800"', "a", "half of a surrogate pair"),
    ],
)
def test_what_can_be_read_past_is_a_finding(text: str, key: str, message: str) -> None:
    _, findings = read(text)

    assert [(it.key, it.message.startswith(message)) for it in findings] == [(key, True)]


@pytest.mark.parametrize(
    ("text", "found"), [("", "an empty file"), ("# nothing\n", "an empty file"), ("- 1", "a list of 1"), ("x", "'x'")]
)
def test_a_configuration_is_a_mapping(tmp_path: Path, text: str, found: str) -> None:
    (finding,) = refusal(tmp_path / "run.yaml", text)

    assert (finding.message, finding.found) == ("not a configuration", found)


def test_a_file_that_is_not_utf_8_is_refused_at_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: tiny\n# größer\n".encode("latin-1"))

    (finding,) = refusal(path)

    assert (finding.message, finding.line, finding.column) == ("not UTF-8: byte 0xF6", 2, 5)


def test_a_file_above_one_mebibyte_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "large.yaml", TINY + "#" * (1 << 20))

    assert [it.message for it in refusal(path)] == ["larger than 1 MiB, which no configuration is"]
    assert [it.message for it in refusal(path, path.read_text())] == ["larger than 1 MiB, which no configuration is"]


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")

    assert [it.message for it in refusal(tmp_path / "pipe.yaml")] == ["not a regular file"]


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert compose(write(tmp_path / "run.yaml", "\ufeff" + TINY)).spec.name == "tiny"
