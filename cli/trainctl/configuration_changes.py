"""What a changed configuration means for a run that goes on: one line for each changed key, with the verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from trainctl.tables import draw_table

Json = dict[str, Any]


def draw_changes(changes: Sequence[Json]) -> list[str]:
    """Key, was and now, verdict (applied, kept, refused), why; no lines where nothing has changed."""
    rows = [
        [change["key"], f"{json.dumps(change['was'])} -> {json.dumps(change['now'])}", _verdict(change)]
        for change in changes
    ]
    return draw_table(["KEY", "WAS -> NOW", "VERDICT"], rows) if rows else []


def _verdict(change: Json) -> str:
    why = change.get("why")
    return f"{change['verdict']}: {why}" if why else str(change["verdict"])
