"""What is made from the models is current: the reference for people, the schema for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainerd.config import configuration_markdown, json_schema
from trainerd.config.__main__ import generated_files
from trainerd.contracts.spec import RunSpec

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("path", generated_files(), ids=str)
def test_a_generated_file_is_current(path: Path) -> None:
    """`python -m trainerd.config` writes it."""
    assert (ROOT / path).read_text(encoding="utf-8") == generated_files()[path]


def test_every_reference_of_the_schema_leads_somewhere() -> None:
    schema = json_schema()

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert set(references(schema)) <= {f"#/$defs/{name}" for name in schema["$defs"]}


def test_the_schema_admits_extends_and_asks_nothing_else_of_such_a_file() -> None:
    extending = json_schema()["then"]

    assert set(extending["properties"]) == {"extends", *RunSpec.model_fields}
    assert "required" not in extending


def test_every_key_stands_in_the_reference_with_its_meaning() -> None:
    text = configuration_markdown()
    definitions = json_schema()["$defs"]

    for model in definitions.values():
        for key, field in model["properties"].items():
            assert f"| `{key}` |" in text
            assert field["description"].replace("|", "\\|") in text


def references(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        here = [schema["$ref"]] if "$ref" in schema else []
        return here + [found for value in schema.values() for found in references(value)]
    return [found for item in schema for found in references(item)] if isinstance(schema, list) else []


def test_the_schema_is_json() -> None:
    assert json.loads(json.dumps(json_schema())) == json_schema()
