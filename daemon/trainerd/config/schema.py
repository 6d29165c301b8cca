"""The JSON Schema of a configuration, for editors, made from the models in contracts.spec. Pure.

configs/run.schema.json is written from it (`python -m trainerd.config`) and never by hand.
"""

from __future__ import annotations

from typing import Any

from trainerd.contracts.spec import RunSpec

_EXTENDS = {"type": "string", "description": "Another configuration that this one changes, relative to this file."}


def json_schema() -> dict[str, Any]:
    """The schema of a configuration file (draft 2020-12).

    A file that extends another holds only what it changes: of such a file just the names of the sections are checked.
    """
    whole = run_schema()
    sections = {key: {"description": section["description"]} for key, section in whole["properties"].items()}
    definitions = whole.pop("$defs")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "run",
        "description": "A configuration of trainerd: one training run.",
        "type": "object",
        "if": {"required": ["extends"]},
        "then": {"properties": {"extends": _EXTENDS, **sections}, "additionalProperties": False},
        "else": {"$ref": "#/$defs/RunSpec"},
        "$defs": {"RunSpec": whole, **definitions},
    }


def run_schema() -> dict[str, Any]:
    """The schema of a whole configuration, its sections under `$defs`; only models have titles."""
    schema = RunSpec.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        for field in model["properties"].values():
            field.pop("title", None)
            if "$ref" in field:  # pydantic leaves out a description that is also the section's
                section = schema["$defs"][field["$ref"].rpartition("/")[2]]
                field.setdefault("description", section["description"])
    return schema
