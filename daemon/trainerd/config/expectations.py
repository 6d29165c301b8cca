"""What a key of a configuration may hold, in plain words, as its schema says. Pure.

The words serve the messages of refused configurations and docs/configuration.md alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]
Keys = tuple[str | int, ...]

_NULL = {"type": "null"}
_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
_BOUNDS = {
    "exclusiveMinimum": "above {}",
    "minimum": "of at least {}",
    "exclusiveMaximum": "below {}",
    "maximum": "of at most {}",
}


@dataclass(frozen=True)
class Expectations:
    """Answers from one schema, as schema.run_schema makes it."""

    schema: Schema
    shows_patterns: bool = True  # or examples only

    def at(self, location: Keys) -> tuple[Keys, Schema]:
        """The keys that a location of pydantic means, and the schema of what stands there.

        Pydantic's locations also name the branch of a union that was tried (`data.hdf5.path`): no key of the user's.
        """
        keys: list[str | int] = []
        declared: Schema = self.schema
        for part in location:
            here = self._one(declared)
            if "oneOf" in here:
                declared = {"$ref": here["discriminator"]["mapping"][part]}
                continue
            below = self._below(here, part)
            if below is None:
                break
            keys.append(part)
            declared = below
        return tuple(keys), declared

    def known_keys(self, section: Schema) -> list[str]:
        """The keys that a section may hold; of every kind, where the kind decides."""
        return list(dict.fromkeys(key for kind in self.kinds_of(section).values() for key in kind["properties"]))

    def kinds_of(self, section: Schema) -> dict[str, Schema]:
        """The schemas that a section, or an item of a list of sections, may have: by kind, or one under "".

        Empty if it is no section.
        """
        here = self._one(section)
        if here.get("type") == "array":
            return self.kinds_of(here.get("items", {}))
        if "oneOf" in here:
            branches = [self._one(branch) for branch in here["oneOf"]]
            return {branch["properties"][here["discriminator"]["propertyName"]]["const"]: branch for branch in branches}
        return {"": here} if "properties" in here else {}

    def sections_with(self, key: str) -> list[str]:
        """The top-level sections in which `key` is known."""
        return [name for name, section in self.schema["properties"].items() if key in self.known_keys(section)]

    def in_words(self, schema: Schema) -> str:
        """`a number above 0`, `one of min, max`, `a list of whole numbers above 0`, ..."""
        if "anyOf" in schema:
            examples = {"examples": schema["examples"]} if "examples" in schema else {}
            return ", or ".join(self.in_words({**branch, **examples}) for branch in schema["anyOf"])
        if "$ref" in schema or "oneOf" in schema or schema.get("type") == "object":
            return "a mapping"
        if "const" in schema:
            return str(schema["const"])
        if "enum" in schema:
            return f"one of {', '.join(map(str, schema['enum']))}"
        if schema.get("type") == "array":
            return self._list_in_words(schema)
        return self._scalar_in_words(schema)

    def _list_in_words(self, schema: Schema) -> str:
        if "prefixItems" in schema:
            return f"a list of {len(schema['prefixItems'])} ({', '.join(map(self.in_words, schema['prefixItems']))})"
        first, *rest = self.in_words(schema["items"]).removeprefix("a ").split(" ")
        words = " ".join([first, *rest])
        return f"a list of {words.replace('number', 'numbers', 1).replace('mapping', 'mappings', 1)}"

    def _scalar_in_words(self, schema: Schema) -> str:
        if "pattern" in schema:
            such_as = f"text such as {', '.join(schema['examples'])}"
            return f"{such_as}, of the form {schema['pattern']}" if self.shows_patterns else such_as
        bounds = [words.format(schema[name]) for name, words in _BOUNDS.items() if name in schema]
        return " ".join([_TYPES.get(schema.get("type", ""), "any value"), " and ".join(bounds)]).strip()

    def _below(self, here: Schema, part: str | int) -> Schema | None:
        """The schema of one key or item of `here`, or None where it has neither."""
        if isinstance(part, str) and here.get("type") == "object":
            return here.get("properties", {}).get(part, {})  # type: ignore[no-any-return]
        if isinstance(part, int) and here.get("type") == "array":
            prefix = here.get("prefixItems", [])
            return prefix[part] if part < len(prefix) else here.get("items", {})  # type: ignore[no-any-return]
        return None

    def _one(self, schema: Schema) -> Schema:
        """The schema that a reference, or a choice between one thing and null, stands for."""
        branches = [branch for branch in schema.get("anyOf", []) if branch != _NULL]
        if len(branches) == 1:
            return self._one(branches[0])
        if "$ref" in schema:
            return self.schema["$defs"][schema["$ref"].rpartition("/")[2]]  # type: ignore[no-any-return]
        return schema
