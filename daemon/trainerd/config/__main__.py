"""`python -m trainerd.config`, run at the root of the project: writes what is generated from the models."""

from __future__ import annotations

import json
from pathlib import Path

from trainerd.config import configuration_markdown, json_schema


def generated_files() -> dict[Path, str]:
    """The content of each generated file, by its path below the root of the project."""
    return {
        Path("docs/configuration.md"): configuration_markdown(),
        Path("configs/run.schema.json"): json.dumps(json_schema(), indent=2) + "\n",
    }


if __name__ == "__main__":
    for path, content in generated_files().items():
        path.write_text(content, encoding="utf-8")
